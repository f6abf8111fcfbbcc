"""What a callback may do between two steps of a guarded call."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

import diffusers
import pytest
import torch
from diffusers.callbacks import SDCFGCutoffCallback
from peft import LoraConfig

import tiny
from bypass.routes import GUARDED, RUN_TIME, SAME, STAGES, OutOfScope, Raised, Route, Routes, bypassed, refused
from bypass.test_arguments import GLIGEN
from bypass.trial import UNSAFE, Trial, check
from stanchion import GuardBypassed

STEPS = 2  # one before the callback, one after it
ROUTES = Routes("What a callback does between two steps", guards=("text", "trajectory"), shared=True)
Change = Callable[[Any, dict[str, Any]], dict[str, Any] | None]
NOT_SEEN = bypassed("no text guard has seen")


def adapter(*modules: str) -> LoraConfig:
    """A random low-rank adapter, on cross-attention unless ``modules`` say otherwise."""
    torch.manual_seed(0)  # of the weights that are made where it is added
    return LoraConfig(r=2, target_modules=list(modules or ("attn2.to_k", "attn2.to_v")), init_lora_weights=False)


def drawn(trial: Trial, change: Change, *, at: int = 0, **options: Any) -> Any:
    """A picture in whose making ``change`` is called once, after a step, with the pipeline and what it hands out."""

    def callback(pipeline: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        return (change(pipeline, values) if index == at else None) or {}

    handed_out = ["latents", "prompt_embeds"]
    return trial.draw(
        callback_on_step_end=callback, callback_on_step_end_tensor_inputs=handed_out, **{"steps": STEPS, **options}
    )


def route(way: str, outcome: Any, **options: Any) -> Callable[[Change], Change]:
    """A route of a callback that is called once, after the first step; ``draw`` are arguments of the call."""
    arguments = options.pop("draw", {})

    def add(change: Change) -> Change:
        ROUTES.add(change.__name__, way, lambda trial: drawn(trial, change, **arguments), outcome, **options)
        return change

    return add


# --- latents -----------------------------------------------------------------------------------------


@route("returns other latents", GUARDED, guards=STAGES)
def other_latents(pipe: Any, values: dict[str, Any]) -> Any:
    return {"latents": torch.full_like(values["latents"], 0.3)}


@route("writes to the latents", GUARDED)
def latents_in_place(pipe: Any, values: dict[str, Any]) -> Any:
    values["latents"].fill_(0.3)


@ROUTES.route(
    "returns, after the last step, latents that an unguarded pipeline made",
    OutOfScope("a picture that was made elsewhere; only a guard of the decoder sees it"),
    but={"decoder": GUARDED},
    guards=(*RUN_TIME, "decoder"),
)
def latents_from_elsewhere(trial: Trial) -> Any:
    other = tiny.draw(tiny.pipeline(), UNSAFE, steps=STEPS, output_type="latent")
    return drawn(trial, lambda pipe, values: {"latents": other}, at=STEPS - 1)


# --- text states -------------------------------------------------------------------------------------


@route("returns text states of its own", NOT_SEEN, guards=("text",))
def other_states(pipe: Any, values: dict[str, Any]) -> Any:
    return {"prompt_embeds": torch.randn_like(values["prompt_embeds"])}


@route("returns text states of its own", GUARDED, guards=("attention", "trajectory"))
def other_states_under_other_guards(pipe: Any, values: dict[str, Any]) -> Any:
    return {"prompt_embeds": torch.randn_like(values["prompt_embeds"])}


@route("writes to the text states", NOT_SEEN, guards=("text",))
def states_in_place(pipe: Any, values: dict[str, Any]) -> Any:
    values["prompt_embeds"].mul_(2)


@route("writes to the text states, without guidance", NOT_SEEN, guards=("text",), draw={"guidance_scale": 1.0})
def states_in_place_without_guidance(pipe: Any, values: dict[str, Any]) -> Any:
    values["prompt_embeds"].mul_(2)


@route("writes to the text states through `.data`", NOT_SEEN, guards=("text",), draw={"guidance_scale": 1.0})
def states_past_the_version(pipe: Any, values: dict[str, Any]) -> Any:
    values["prompt_embeds"].data.mul_(2)


@route("writes to the text states through NumPy", NOT_SEEN, guards=("text",), draw={"guidance_scale": 1.0})
def states_through_numpy(pipe: Any, values: dict[str, Any]) -> Any:
    values["prompt_embeds"].numpy()[:] *= 2


@route("writes to the text states under an attention guard", GUARDED, guards=("attention",))
def states_that_were_projected(pipe: Any, values: dict[str, Any]) -> Any:
    values["prompt_embeds"].data.mul_(2)


@route("exchanges the halves of the text states", bypassed("in the place of"), guards=("text",))
def halves_exchanged(pipe: Any, values: dict[str, Any]) -> Any:
    return {"prompt_embeds": values["prompt_embeds"].flip(0)}


def _half(which: int) -> Any:
    def keep(pipe: Any, values: dict[str, Any]) -> Any:
        pipe._guidance_scale = 1.0
        return {"prompt_embeds": values["prompt_embeds"].chunk(2)[which]}

    return lambda trial: drawn(trial, keep, negative_prompt="a gun")


ROUTES.add(
    "the_negative_half_alone",
    "ends guidance and keeps the negative half",
    _half(0),
    bypassed("in the place of"),
    guards=("text",),
)
ROUTES.add("the_prompts_half_alone", "ends guidance and keeps the prompt's half", _half(1), GUARDED)


@route("puts the negative half in both places", bypassed("in the place of"), guards=("text",))
def the_negative_half_twice(pipe: Any, values: dict[str, Any]) -> Any:
    return {"prompt_embeds": values["prompt_embeds"].chunk(2)[0].repeat(2, 1, 1)}


@route("puts the prompt's half in both places", bypassed("in the place of"), guards=("text",))
def the_prompts_half_twice(pipe: Any, values: dict[str, Any]) -> Any:
    return {"prompt_embeds": values["prompt_embeds"].chunk(2)[1].repeat(2, 1, 1)}


@ROUTES.route("casts the text states", NOT_SEEN, guards=("text",))
def states_of_another_type(trial: Trial) -> Any:
    kind = torch.double if trial.guard else torch.float  # the stock denoiser takes no other
    return drawn(trial, lambda pipe, values: {"prompt_embeds": values["prompt_embeds"].to(kind)})


@route("cuts the text states", NOT_SEEN, guards=("text",))
def states_cut(pipe: Any, values: dict[str, Any]) -> Any:
    return {"prompt_embeds": values["prompt_embeds"][:, :9]}


@route("encodes another prompt with `pipe.encode_prompt`", GUARDED)
def another_prompt(pipe: Any, values: dict[str, Any]) -> Any:
    prompt, negative = pipe.encode_prompt("a gun", "cpu", 1, True)
    return {"prompt_embeds": torch.cat([negative, prompt])}


@ROUTES.route("puts in states that were encoded before the call", NOT_SEEN, guards=("text",))
def states_from_before(trial: Trial) -> Any:
    prompt, negative = trial.pipe.encode_prompt("a gun", "cpu", 1, True)
    return drawn(trial, lambda pipe, values: {"prompt_embeds": torch.cat([negative, prompt])})


@ROUTES.route("puts in states that its own text encoder made", NOT_SEEN, guards=("text",))
def states_from_the_encoder(trial: Trial) -> Any:
    def encode(pipe: Any, values: dict[str, Any]) -> Any:
        ids = pipe.tokenizer(["", UNSAFE], padding="max_length", max_length=tiny.CONTEXT, return_tensors="pt").input_ids
        return {"prompt_embeds": pipe.text_encoder(ids)[0]}

    return drawn(trial, encode, prompt="a cat")


@ROUTES.route("is diffusers' own `SDCFGCutoffCallback`", GUARDED)
def guidance_cut_off(trial: Trial) -> Any:
    cutoff = SDCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=0)
    return trial.draw(callback_on_step_end=cutoff, steps=STEPS)


# --- the call's own settings -------------------------------------------------------------------------


@route("changes the guidance scale", GUARDED)
def another_guidance_scale(pipe: Any, values: dict[str, Any]) -> Any:
    pipe._guidance_scale = 30.0


@route("changes `guidance_rescale`", GUARDED)
def another_rescale(pipe: Any, values: dict[str, Any]) -> Any:
    pipe._guidance_rescale = 0.9


@route("stops the call", GUARDED)
def stopped(pipe: Any, values: dict[str, Any]) -> Any:
    pipe._interrupt = True


@ROUTES.route("raises, and somebody draws again", SAME)
def raising(trial: Trial) -> Any:
    def fail(pipe: Any, values: dict[str, Any]) -> Any:
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError):
        drawn(trial, fail)
    return trial.draw()


@route("brings GLIGEN's phrases in", refused("'gligen'"), draw={"cross_attention_kwargs": {"scale": 1.0}})
def phrases_brought_in(pipe: Any, values: dict[str, Any]) -> Any:
    if getattr(type(pipe), "_stanchion", None):  # the stock denoiser has no place for them
        pipe._cross_attention_kwargs["gligen"] = dict(GLIGEN)


@route("changes `clip_skip`", GUARDED)
def another_clip_skip(pipe: Any, values: dict[str, Any]) -> Any:
    pipe._clip_skip = 1


# --- modules -----------------------------------------------------------------------------------------


@route("puts another scheduler in", GUARDED, guards=STAGES)
def another_scheduler(pipe: Any, values: dict[str, Any]) -> Any:
    steps = pipe.scheduler.timesteps
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.scheduler.set_timesteps(len(steps))


@ROUTES.route("is the old form, `callback` with `callback_steps`", GUARDED)
def old_callback(trial: Trial) -> Any:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        return trial.draw(callback=lambda index, timestep, latents: latents.mul_(0.9), callback_steps=1, steps=STEPS)


@ROUTES.route("runs the denoiser itself", bypassed("outside a guarded call"), guards=STAGES)
def denoiser_run(trial: Trial) -> Any:
    unet, latents = trial.pipe.unet, []

    def run(pipe: Any, values: dict[str, Any]) -> Any:
        latents.append(unet(values["latents"], 1, torch.zeros(1, tiny.CONTEXT, 32)).sample)

    drawn(trial, run)
    return latents[0]


@ROUTES.route("runs the denoiser in another thread", bypassed("outside a guarded call"))
def denoiser_run_in_a_thread(trial: Trial) -> Any:
    unet = trial.pipe.unet

    def run(pipe: Any, values: dict[str, Any]) -> Any:
        with ThreadPoolExecutor(1) as pool:
            work = partial(unet, values["latents"], 1, torch.zeros(1, tiny.CONTEXT, 32))
            return {"latents": pool.submit(copy_context().run, work).result().sample}

    return drawn(trial, run)


@ROUTES.route("decodes the latents with the raw decoder", bypassed("outside a guarded call"), guards=("decoder",))
def decoder_run(trial: Trial) -> Any:
    vae, pictures = trial.pipe.vae, []
    drawn(trial, lambda pipe, values: pictures.append(vae.decode(values["latents"]).sample), at=STEPS - 1)
    return pictures[0]


OWN_PICTURE = OutOfScope(
    "an output guard looks at what the pipeline returns, not at what a callback decodes for itself"
)


@ROUTES.route("decodes the latents with `pipe.vae`", GUARDED, guards=("decoder", "output"), but={"output": OWN_PICTURE})
def decoder_run_in_the_call(trial: Trial) -> Any:
    pictures: list[Any] = []
    drawn(trial, lambda pipe, values: pictures.append(pipe.vae.decode(values["latents"]).sample), at=STEPS - 1)
    return pictures[0]


@ROUTES.route("puts another denoiser in, and the first one back", bypassed("pipe.unet was replaced"))
def another_denoiser_for_a_step(trial: Trial) -> Any:
    own, other = trial.pipe.unet, tiny.pipeline(seed=1).unet
    trial.after.callback(setattr, trial.pipe, "unet", own)

    def exchange(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> Any:
        pipe.unet = other if index == 0 else own
        return {}

    return trial.draw(callback_on_step_end=exchange, steps=STEPS)


# --- calls within the call ---------------------------------------------------------------------------


@ROUTES.route("calls the pipeline", bypassed("inside its own call"), guards=STAGES)
def call_in_the_call(trial: Trial) -> Any:
    drawing: list[Any] = []

    def again(pipe: Any, values: dict[str, Any]) -> Any:
        if not drawing:
            drawing.append(None)
            drawing[0] = tiny.draw(pipe, UNSAFE, steps=STEPS)

    drawn(trial, again)
    return drawing[0]


@ROUTES.route("calls a pipeline with the same modules", bypassed("the same modules|outside a guarded call"))
def siblings_call_in_the_call(trial: Trial) -> Any:
    sibling = diffusers.StableDiffusionPipeline(**trial.pipe.components, requires_safety_checker=False)
    trial.attach(sibling)
    drawing: list[Any] = []
    drawn(trial, lambda pipe, values: drawing.append(trial.draw(sibling)))
    return drawing[0]


@ROUTES.route("takes the guard off", bypassed("can't be taken off"), guards=STAGES)
def guard_taken_off(trial: Trial) -> Any:
    return drawn(trial, lambda pipe, values: trial.attachment.detach() if trial.attachment else None)


KEPT = Routes("What a callback keeps for after the call", guards=STAGES, shared=True)


def _kept(trial: Trial, name: str) -> Any:
    kept: list[Any] = []
    drawn(trial, lambda pipe, values: kept.append(getattr(pipe, name)))
    return kept[0]


@KEPT.route("`pipe.unet` of the call", Raised(GuardBypassed))
def kept_denoiser(trial: Trial) -> Any:
    unet = _kept(trial, "unet")
    inputs = (torch.zeros(2, 4, 8, 8), torch.tensor(1))
    return unet(*inputs, encoder_hidden_states=torch.zeros(2, tiny.CONTEXT, 32), return_dict=False)[0]


@KEPT.route("`pipe.vae` of the call", Raised(GuardBypassed), guards=("decoder",))
def kept_decoder(trial: Trial) -> Any:
    return _kept(trial, "vae").decode(torch.ones(1, 4, 8, 8)).sample


@KEPT.route("`pipe.encode_prompt` of the call", SAME, guards=("text",))
def kept_encode_prompt(trial: Trial) -> Any:
    _kept(trial, "encode_prompt")(UNSAFE, "cpu", 1, True)
    return trial.draw(prompt=UNSAFE)


@KEPT.route("the context that the call runs in", SAME)
def kept_context(trial: Trial) -> Any:
    kept: list[Any] = []
    drawn(trial, lambda pipe, values: kept.append(copy_context()))
    return kept[0].run(trial.draw)


@ROUTES.tried()
def test_between_two_steps(route: Route) -> None:
    check(route)


@KEPT.tried()
def test_for_after_the_call(route: Route) -> None:
    check(route)
