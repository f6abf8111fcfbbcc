"""Ways round guards on other families: second prompts, vectors beside the text, second denoisers, guidance in name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import diffusers
import pytest
import torch

import tiny_families
from bypass.family_trial import FamilyTrial
from bypass.routes import GUARDED, Outcome, OutOfScope, Route, Routes, bypassed, refused
from bypass.test_callbacks import adapter
from bypass.trial import UNSAFE, Trial, check

XL, FLUX, SD3 = "StableDiffusionXLPipeline", "FluxPipeline", "StableDiffusion3Pipeline"
WAN, LUMINA, PIXART, SANA = "WanPipeline", "Lumina2Pipeline", "PixArtSigmaPipeline", "SanaPipeline"
SHORT = {XL: "SDXL", FLUX: "FLUX.1", SD3: "SD3", WAN: "Wan", LUMINA: "Lumina 2", PIXART: "PixArt", SANA: "Sana"}
OUTSIDE = bypassed("outside a guarded call")
REPLACED = bypassed("was replaced")


def add(routes: Routes, on: str, name: str, way: str, go: Any, outcome: Outcome, **options: Any) -> None:
    title = SHORT.get(on, on.removesuffix("Pipeline"))
    short = title.lower().replace(" ", "").replace(".", "")
    routes.add(f"{short}_{name}", f"{title}: {way}", go, outcome, on=on, **options)


def passed(on: str, name: str, way: str, outcome: Outcome, **given: Any) -> None:
    """A route that is nothing but arguments of the call."""
    settings = {key: given.pop(key) for key in ("but", "guards") if key in given}
    add(ARGUMENTS, on, name, way, lambda trial: trial.draw(**given), outcome, **settings)


# --- what is passed ----------------------------------------------------------------------------------

ARGUMENTS = Routes("What is passed to pipelines of other families", shared=True)

UNREAD = refused("reads prompt only")
for on, others in ((XL, {"trasce": UNREAD}), (FLUX, {"trajectory": GUARDED}), (SD3, {"attention": GUARDED})):
    passed(on, "second_prompt", "`prompt_2` says another thing than `prompt`", UNREAD, prompt="a cat", prompt_2=UNSAFE,
           guards=("text", *others), but=others)  # fmt: skip
    passed(on, "second_negative", "`negative_prompt_2` says another thing than `negative_prompt`",
           refused("reads negative_prompt only"), negative_prompt_2="a cat", guards=("text",))  # fmt: skip
for on in (XL, FLUX):
    passed(on, "many", "two prompts", GUARDED, prompt=[UNSAFE, "a gun"], guards=("text", "attention"))
    passed(on, "latents", '`output_type="latent"`', GUARDED, output_type="latent", guards=("text",))
passed(FLUX, "copies", "two pictures of a prompt", GUARDED, num_images_per_prompt=2, guards=("attention",))
passed("ZImagePipeline", "copies", "two pictures of a prompt", GUARDED, num_images_per_prompt=2,
       guards=("negative_prompt",))  # fmt: skip
passed(FLUX, "cut_prompt", "the prompt's end is cut off for T5 (`max_sequence_length`), and CLIP's vector has it",
       refused("is read for its pooled vector alone"), prompt="a cat on the table near a dog " + UNSAFE,
       max_sequence_length=8, guards=("text",))  # fmt: skip
passed(SD3, "third_prompt", "`prompt_3` says another thing than `prompt`", GUARDED, prompt="a cat", prompt_3=UNSAFE,
       guards=("text",), but={"text": UNREAD})  # fmt: skip


def _states(pipe: Any, text: str) -> tuple[Any, Any]:
    if "XL" in type(pipe).__name__:
        states, _, pooled, _ = pipe.encode_prompt(text, do_classifier_free_guidance=False)
        return states, pooled
    return pipe.encode_prompt(text, None, max_sequence_length=32)[:2]


def _vector_by_hand(trial: Trial) -> Any:
    (states, _), (_, pooled) = _states(trial.pipe, "a cat"), _states(trial.pipe, UNSAFE)
    negative, beside = _states(trial.pipe, "")
    given = {"negative_prompt_embeds": negative, "negative_pooled_prompt_embeds": beside}
    return trial.draw(prompt=None, prompt_embeds=states, pooled_prompt_embeds=pooled, **given)


for on, others in ((XL, {"trasce": UNREAD}), (FLUX, {"attention": GUARDED})):
    add(ARGUMENTS, on, "vector_by_hand", "a pooled vector of another prompt than the states are of", _vector_by_hand,
        UNREAD, guards=("text", *others), but=others)  # fmt: skip


def _states_by_hand(trial: Trial) -> Any:
    told, rest = trial.pipe.encode_prompt([UNSAFE], negative_prompt=[""])
    return trial.draw(prompt=None, prompt_embeds=told, negative_prompt=..., negative_prompt_embeds=rest)


add(ARGUMENTS, "ZImagePipeline", "states_by_hand", "`prompt_embeds`, which it does not pass through `encode_prompt`",
    _states_by_hand, refused("encoded no prompt"), guards=("negative_prompt",))  # fmt: skip

UNGUIDED = refused("without guidance")
passed(LUMINA, "truncated", "guidance that is cut off from the first step on (`cfg_trunc_ratio`)", UNGUIDED,
       cfg_trunc_ratio=0.0, guards=("negative_prompt",))  # fmt: skip
passed("ZImagePipeline", "truncated", "guidance that is cut off from the first step on (`cfg_truncation`)", UNGUIDED,
       cfg_truncation=-1.0, guards=("negative_prompt",))  # fmt: skip
passed(WAN, "second_scale", "the second denoiser's `guidance_scale_2=1`", UNGUIDED, guidance_scale_2=1.0,
       num_inference_steps=4, guards=("negative_prompt",))  # fmt: skip
passed(FLUX, "no_negative", "no negative prompt, so that guidance is the distilled one", refused("true_cfg_scale"),
       negative_prompt=..., guards=("negative_prompt",))  # fmt: skip
NEXT_TO_ONE = OutOfScope("next to no guidance leaves the guard next to nothing to subtract, and it says so", said=True)
passed(XL, "next_to_one", "`guidance_scale=1.00001`", NEXT_TO_ONE, guidance_scale=1.00001, guards=("negative_prompt",))
passed(FLUX, "next_to_one", "`true_cfg_scale=1.00001`", NEXT_TO_ONE, true_cfg_scale=1.00001,
       guards=("negative_prompt",))  # fmt: skip
passed(FLUX, "distilled_scale", "`guidance_scale=0`", GUARDED, guidance_scale=0.0, guards=("text",))

TOLD = refused("would be part of the concept")
passed(LUMINA, "system_prompt", "`system_prompt` names the concept, the prompt nothing", TOLD, prompt="",
       system_prompt=UNSAFE, guards=("negative_prompt",))  # fmt: skip
passed(SANA, "instruction", "`complex_human_instruction` names the concept, the prompt nothing", TOLD, prompt="",
       complex_human_instruction=[UNSAFE], guards=("negative_prompt",))  # fmt: skip
passed(FLUX, "attention_arguments", "a condition in `joint_attention_kwargs`", refused("'ip_hidden_states'"),
       joint_attention_kwargs={"ip_hidden_states": None}, guards=("text", "attention"))  # fmt: skip


def _for_guards_only(**given: Any) -> Any:
    return lambda trial: trial.draw(**(given if trial.guard else {}))  # the stock pipeline has no parts for it


for on in (XL, FLUX, SD3):
    add(ARGUMENTS, on, "image_prompt", "an image prompt's embeddings",
        _for_guards_only(ip_adapter_image_embeds=[torch.zeros(2, 1, 8)]), refused("ip_adapter_image_embeds"),
        guards=("text",))  # fmt: skip
passed(SD3, "skipped_layers", "`skip_guidance_layers`", refused("skip_guidance_layers"), skip_guidance_layers=[1],
       guards=("text",))  # fmt: skip

AT_FIRST = ("text, first half",)
for on, given in (
    ("StableDiffusionXLImg2ImgPipeline", {"strength": 0.3, "num_inference_steps": 7}),
    ("FluxImg2ImgPipeline", {"strength": 0.4, "num_inference_steps": 5}),
):
    passed(on, "late", "begins behind the part of the schedule for which a text guard steers", GUARDED, guards=AT_FIRST,
           **given)  # fmt: skip
passed("StableDiffusionXLImg2ImgPipeline", "refined", "`denoising_start`, as a refiner has it", GUARDED,
       denoising_start=0.6, num_inference_steps=5, guards=AT_FIRST)  # fmt: skip

# --- what a prompt says ------------------------------------------------------------------------------

SAID = Routes("What a prompt says to other text encoders", shared=True, guards=("words",))


def said(on: str, name: str, way: str, text: str) -> None:
    add(SAID, on, name, way, lambda trial: trial.draw(prompt=text), GUARDED)


said(WAN, "entities", "letters as HTML's entities, which the pipeline resolves", "a photo of a &#107;nife")
said(PIXART, "capitals", "capital letters, which the pipeline makes small", "A PHOTO OF A KNIFE")
said(XL, "end_before", "the end token before the words", "<|endoftext|> a knife")
for on in (FLUX, SD3, "ChromaPipeline"):
    said(on, "end_before", "T5's end and padding before the words", "</s><pad> a knife")


def _taught(part: str, trial: Trial) -> Any:
    tokenizer = copy.deepcopy(getattr(trial.pipe, part))
    tokenizer.add_tokens("zorbl")
    setattr(trial.pipe, part, tokenizer)
    encoder = getattr(trial.pipe, part.replace("tokenizer", "text_encoder"))
    encoder.resize_token_embeddings(len(tokenizer))
    trial.attach()
    return trial.draw(prompt="a zorbl")


for on, part in ((XL, "tokenizer_2"), (FLUX, "tokenizer")):
    add(SAID, on, "taught", f"a word that only `{part}` was taught", partial(_taught, part),
        refused("not all of the pipeline's tokenizers"), attached=False, shared=False)  # fmt: skip

# --- what a callback does ----------------------------------------------------------------------------

CALLBACKS = Routes("What a callback does on other families", shared=True)
NOT_SEEN = bypassed("no text guard has seen")
Change = Callable[[Any, dict[str, Any]], dict[str, Any] | None]


def callback(on: str, way: str, outcome: Outcome, **options: Any) -> Callable[[Change], Change]:
    def decorate(change: Change) -> Change:
        def once(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            return (change(pipe, values) if index == 0 else None) or {}

        kind = getattr(diffusers, on)
        handed = {"callback_on_step_end": once, "callback_on_step_end_tensor_inputs": kind._callback_tensor_inputs}
        go = lambda trial: trial.draw(num_inference_steps=2, **handed)  # noqa: E731
        add(CALLBACKS, on, change.__name__, way, go, outcome, **options)
        return change

    return decorate


VECTOR = {"trasce": bypassed("does not belong to the text states")}


@callback(XL, "returns another pooled vector", bypassed("pooled vector"), guards=("text", "trasce"), but=VECTOR)
def another_vector(pipe: Any, values: dict[str, Any]) -> Any:
    return {"add_text_embeds": 1 - values["add_text_embeds"]}


@callback(XL, "writes to the pooled vector", bypassed("pooled vector"), guards=("text", "trasce"), but=VECTOR)
def vector_in_place(pipe: Any, values: dict[str, Any]) -> Any:
    values["add_text_embeds"].data.mul_(-2)


@callback(SD3, "writes to the pooled vector", bypassed("pooled vector"), guards=("text",))
def vector_in_place_too(pipe: Any, values: dict[str, Any]) -> Any:
    values["pooled_prompt_embeds"].data.mul_(-2)


@callback(XL, "writes to the sizes", GUARDED, guards=("text",))
def sizes_in_place(pipe: Any, values: dict[str, Any]) -> Any:
    values["add_time_ids"].mul_(2)


@callback(XL, "replaces the second text encoder's part of the states", NOT_SEEN, guards=("text",))
def one_stream(pipe: Any, values: dict[str, Any]) -> Any:
    values["prompt_embeds"][..., 32:].mul_(-1)


@callback(FLUX, "writes to the text states", NOT_SEEN, guards=("text",))
def states_in_place(pipe: Any, values: dict[str, Any]) -> Any:
    values["prompt_embeds"].data.mul_(2)


@callback(FLUX, "puts the negative prompt's states in the place of the prompt's", bypassed("no text guard|place of"),
          guards=("text",))  # fmt: skip
def other_role(pipe: Any, values: dict[str, Any]) -> Any:
    return {"prompt_embeds": pipe.encode_prompt("bad", None, max_sequence_length=32)[0].mul(2)}


@callback(FLUX, "encodes two prompts more", GUARDED, guards=("text", "attention"))
def more_prompts(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.encode_prompt(["a cat", "a dog"], None, max_sequence_length=32)


@callback(XL, "ends guidance", refused("without guidance"), guards=("negative_prompt",))
def guidance_ended(pipe: Any, values: dict[str, Any]) -> Any:
    pipe._guidance_scale = 1.0
    return {name: value.chunk(2)[1] for name, value in values.items() if name != "latents"}


# --- code and modules --------------------------------------------------------------------------------

PARTS = Routes("What is done to the parts of other families", guards=("text",))


def change(on: str, name: str, way: str, do: Callable[[Any], Any], outcome: Outcome, **options: Any) -> None:
    def go(trial: Trial) -> Any:
        do(trial.pipe)
        return trial.draw()

    add(PARTS, on, name, way, go, outcome, **options)


def _says_cat(method: str, pipe: Any, *, on_class: bool = False) -> None:
    own = getattr(getattr(diffusers, type(pipe).__name__), method)

    def fake(self: Any, prompt: Any = None, *args: Any, **kwargs: Any) -> Any:
        return own(self, ["a cat"], *args, **kwargs)

    setattr(type(pipe) if on_class else pipe, method, fake if on_class else fake.__get__(pipe))


for on, method in (
    (FLUX, "_get_t5_prompt_embeds"),
    (FLUX, "_get_clip_prompt_embeds"),
    (SD3, "_get_clip_prompt_embeds"),
    (WAN, "_get_t5_prompt_embeds"),
    (XL, "maybe_convert_prompt"),
):
    change(on, f"another{method.removesuffix('_prompt_embeds')}", f"`pipe.{method}` that says another text",
           partial(_says_cat, method), REPLACED, shared=True)  # fmt: skip


def _on_its_class(trial: Trial) -> Any:
    if trial.guard:  # the stock object's class is diffusers' own
        _says_cat("_get_t5_prompt_embeds", trial.pipe, on_class=True)
    return trial.draw()


add(PARTS, FLUX, "class_code", "the guarded object's class gets a method of another mind", _on_its_class, REPLACED,
    shared=True)  # fmt: skip


def _forward(path: str, pipe: Any) -> None:
    module = pipe
    for name in path.split("."):
        module = getattr(module, name)
    other = copy.deepcopy(module)
    module.forward = other.forward


for on, path in ((FLUX, "transformer"), (FLUX, "text_encoder_2"), (XL, "text_encoder_2"), (WAN, "transformer_2")):
    change(on, f"forward_of_{path}", f"`pipe.{path}.forward` of another", partial(_forward, path), REPLACED)


def _louder(part: str, pipe: Any) -> None:
    next(getattr(pipe, part).parameters()).data.mul_(2)


def _loaded(part: str, pipe: Any) -> None:
    module = getattr(pipe, part)
    module.load_state_dict({name: value * 1.5 for name, value in module.state_dict().items()})


for on, name in ((LUMINA, "system_prompt"), ("QwenImagePipeline", "prompt_template_encode")):
    change(on, f"own_{name}", f"`pipe.{name}` names the concept",
           lambda pipe, name=name: setattr(pipe, name, 3 * UNSAFE + "{}"), bypassed(f"pipe.{name} was"),
           shared=True, guards=("negative_prompt",))  # fmt: skip

CHANGED = bypassed("was changed since")
for on, part in ((XL, "text_encoder_2"), (FLUX, "text_encoder"), (SD3, "text_encoder_3")):
    change(on, f"{part}_louder", f"`{part}` is written to through `.data`", partial(_louder, part), CHANGED)
change(FLUX, "text_encoder_2_loaded", "`text_encoder_2.load_state_dict`", partial(_loaded, "text_encoder_2"), CHANGED)
change(SD3, "no_third_encoder", "`text_encoder_3` is taken off", lambda pipe: setattr(pipe, "text_encoder_3", None),
       REPLACED, shared=True)  # fmt: skip
change(XL, "another_encoder", "another `text_encoder_2`",
       lambda pipe: setattr(pipe, "text_encoder_2", copy.deepcopy(pipe.text_encoder_2)), REPLACED,
       shared=True)  # fmt: skip
change(FLUX, "an_adapter", "an adapter (LoRA) on joint attention",
       lambda pipe: pipe.transformer.add_adapter(adapter("to_k", "add_k_proj")), GUARDED,
       guards=("text", "attention"))  # fmt: skip
change(FLUX, "fused", "`fuse_qkv_projections`", lambda pipe: pipe.transformer.fuse_qkv_projections(), GUARDED,
       guards=("attention", "weights"),
       but={name: bypassed("fuse_qkv_projections") for name in ("attention", "weights")})  # fmt: skip


def _cached(trial: Trial) -> Any:
    trial.pipe.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=10.0))
    return trial.draw(num_inference_steps=4)


add(PARTS, FLUX, "cached", "a cache (`enable_cache`) that skips whole layers", _cached, bypassed("disable_cache"),
    guards=("attention",))  # fmt: skip


def _scheduled(name: str, pipe: Any, **options: Any) -> None:
    pipe.scheduler = getattr(diffusers, name)(**options)


CONTINUOUS = {"timestep_type": "continuous", "prediction_type": "v_prediction", "sigma_min": 0.002, "sigma_max": 120.0}
change(XL, "continuous", "a scheduler whose timesteps do not say how noisy x_t is",
       partial(_scheduled, "EulerDiscreteScheduler", **CONTINUOUS), refused("timestep_type"), shared=True,
       guards=("text", "negative_prompt"))  # fmt: skip
for on in (SD3, SANA):
    change(on, "diffusion", "a scheduler of diffusion in the place of a flow's",
           partial(_scheduled, "EulerDiscreteScheduler"), refused("does not go by a flow"), shared=True,
           guards=("text", "negative_prompt"))  # fmt: skip


def _second_fused(trial: Trial) -> Any:
    for block in trial.pipe.transformer_2.blocks:
        block.attn2.fuse_projections()
    return trial.draw(num_inference_steps=4)


add(PARTS, WAN, "second_fused", "projections of the second denoiser are fused", _second_fused,
    bypassed("transformer_2|were not run"), guards=("weights", "attention"))  # fmt: skip

# --- siblings ----------------------------------------------------------------------------------------


def _sibling(kind: str, guarded: bool, trial: Trial) -> Any:
    made = getattr(diffusers, kind).from_pipe(trial.pipe, torch_dtype=trial.pipe.dtype)
    if guarded:
        trial.attach(made)
    steps = 3 if "Img2Img" in kind else 1
    drawn = trial.draw(made, num_inference_steps=steps)
    if trial.attachments:
        trial.after.callback(trial.attachments[id(made)].detach) if guarded else None
    return drawn


SIBLINGS = Routes("Other pipelines with the modules of other families", shared=True, guards=("text",))
for on, kind in (
    (XL, "StableDiffusionXLImg2ImgPipeline"),
    (FLUX, "FluxKontextPipeline"),
    (FLUX, "FluxImg2ImgPipeline"),
):
    name = kind.removesuffix("Pipeline")
    for guarded, outcome in ((False, OUTSIDE), (True, GUARDED)):
        how = "with a guard of its own" if guarded else "without one"
        add(SIBLINGS, on, f"{name}_{guarded}", f"`{kind}.from_pipe`, {how}", partial(_sibling, kind, guarded), outcome)


@pytest.mark.parametrize("route", [*ARGUMENTS, *SAID], ids=lambda route: route.name)
def test_what_is_said(route: Route) -> None:
    check(route, FamilyTrial)


@CALLBACKS.tried()
def test_between_two_steps(route: Route) -> None:
    check(route, FamilyTrial)


@pytest.mark.parametrize("route", [*PARTS, *SIBLINGS], ids=lambda route: route.name)
def test_parts_and_siblings(route: Route) -> None:
    check(route, FamilyTrial)


def test_every_class_is_a_known_one() -> None:
    routes = [*ARGUMENTS, *SAID, *CALLBACKS, *PARTS, *SIBLINGS]
    assert {route.on for route in routes} <= set(tiny_families.TINY)
