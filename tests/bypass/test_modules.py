"""What may be done to a guarded pipeline's modules between calls."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import accelerate
import diffusers
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

import tiny
from bypass.routes import GUARDED, RUN_TIME, SAME, STAGES, Guarded, Raised, Route, Routes, bypassed, refused
from bypass.trial import Trial, check
from small_guards import Half
from stanchion import StanchionError

ROUTES = Routes("What is done to the modules between calls", guards=("text",))
NEARLY = Guarded(as_ever=1e-3)


def inputs() -> tuple[Any, ...]:
    """What the denoiser is called with: latents, a timestep and text states."""
    return torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, tiny.CONTEXT, 32)


# --- schedulers --------------------------------------------------------------------------------------


def _another(name: str) -> Any:
    def go(trial: Trial) -> Any:
        trial.pipe.scheduler = getattr(diffusers, name).from_config(trial.pipe.scheduler.config)
        return trial.draw()

    return go


for name in ("EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "LCMScheduler"):
    guards = STAGES if "Ancestral" in name else RUN_TIME
    ROUTES.add(name, f"`pipe.scheduler` is a new `{name}`", _another(name), GUARDED, guards=guards)


@ROUTES.route("`pipe.scheduler` is one that no guard can read (flow matching)", Raised(StanchionError), guards=STAGES)
def flow_matching(trial: Trial) -> Any:
    if trial.guard:  # the stock pipeline doesn't fit it either
        trial.pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return trial.draw()


@ROUTES.change("a scheduler for models that predict the picture itself", refused("sample"))
def another_prediction(pipe: Any) -> None:
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config, prediction_type="sample")


@ROUTES.change("`scheduler.step` of another scheduler", GUARDED)
def another_step(pipe: Any) -> None:
    other = copy.deepcopy(pipe.scheduler)
    other.set_timesteps(2)
    pipe.scheduler.step = other.step


# --- where and how they compute ----------------------------------------------------------------------


@ROUTES.change("offload hooks on the modules, as `enable_model_cpu_offload` puts them", SAME, guards=STAGES)
def offloaded(pipe: Any) -> None:
    for module in (pipe.text_encoder, pipe.unet, pipe.vae):
        accelerate.cpu_offload_with_hook(module, "cpu")


@ROUTES.change("`remove_all_hooks`", SAME, guards=STAGES)
def hooks_removed(pipe: Any) -> None:
    offloaded(pipe)
    pipe.remove_all_hooks()


@ROUTES.route("offload hooks that the pipeline renews as its last act", SAME)
def offload_renewed(trial: Trial) -> Any:
    renewed: list[Any] = []
    trial.pipe._all_hooks = [None]
    trial.pipe.enable_model_cpu_offload = lambda **_: renewed.append(trial.pipe.unet)  # what needs a GPU otherwise
    drawn = trial.draw()
    assert [type(module) for module in renewed] == [diffusers.UNet2DConditionModel]
    return drawn


@ROUTES.change(
    "offload weight by weight, as `enable_sequential_cpu_offload` does",
    NEARLY,
    guards=STAGES,
    but={"weights": bypassed("was replaced")},
)
def offloaded_by_weight(pipe: Any) -> None:
    accelerate.cpu_offload(pipe.unet, torch.device("cpu"), offload_buffers=True)


@ROUTES.change("group offload of diffusers", NEARLY, guards=("text", "attention"))
def offloaded_by_group(pipe: Any) -> None:
    pipe.unet.enable_group_offload(torch.device("cpu"), torch.device("cpu"), offload_type="leaf_level")


# Whether TraSCE's gradients pass a cast is torch's to say: with one thread it raises, with two it does not.
CAST = tuple(stage for stage in RUN_TIME if stage != "trajectory")


@ROUTES.change("layerwise casting of diffusers", GUARDED, guards=CAST)
def cast_by_layer(pipe: Any) -> None:
    pipe.unet.enable_layerwise_casting(torch.bfloat16, torch.float32)


@ROUTES.change("`pipe.to(torch.bfloat16)`", GUARDED, guards=("text", "attention"))
def cast(pipe: Any) -> None:
    pipe.to(torch.bfloat16)


@ROUTES.change("another memory format", NEARLY, guards=("text", "attention"))
def channels_last(pipe: Any) -> None:
    pipe.unet.to(memory_format=torch.channels_last)


@ROUTES.change("attention slicing", NEARLY, guards=("text", "attention"))
def attention_sliced(pipe: Any) -> None:
    pipe.enable_attention_slicing(1)


@ROUTES.change("slicing and tiling of the VAE", GUARDED, guards=("decoder", "text"))
def vae_tiled(pipe: Any) -> None:
    pipe.vae.enable_slicing()
    pipe.vae.enable_tiling()
    pipe.vae.tile_sample_min_size, pipe.vae.tile_latent_min_size = 8, 4


@ROUTES.change("`enable_freeu`", GUARDED, guards=("text", "attention"))
def freeu(pipe: Any) -> None:
    pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)


@ROUTES.change("training mode", GUARDED, guards=("text", "attention"))
def training_mode(pipe: Any) -> None:
    pipe.unet.train()


@ROUTES.change("`set_attn_processor`", NEARLY, guards=STAGES)
def another_processor(pipe: Any) -> None:
    pipe.unet.set_attn_processor(AttnProcessor())


@ROUTES.change("`fuse_qkv_projections`", GUARDED, guards=STAGES, but={"attention": bypassed("fuse_qkv_projections")})
def fused_projections(pipe: Any) -> None:
    pipe.fuse_qkv_projections()


def _compiling(trial: Trial) -> Any:
    """The stock run compiles nothing, which takes long. Code of pipelines without hooks on attention is forgotten."""
    if trial.guard == "attention":
        torch._dynamo.reset()
    return torch.compiler.set_stance("default" if trial.guard else "force_eager")


@ROUTES.route("`pipe.unet.compile()`", NEARLY, guards=("attention",))
def compiled(trial: Trial) -> Any:
    with _compiling(trial):
        trial.pipe.unet.compile(backend="eager")
        return trial.draw()


@ROUTES.route("`compile_repeated_blocks`", NEARLY, guards=("attention", "trajectory"))
def compiled_by_block(trial: Trial) -> Any:
    with _compiling(trial):
        trial.pipe.unet.compile_repeated_blocks(backend="eager")
        return trial.draw()


@ROUTES.route(
    "`compile_repeated_blocks` where a pipeline with a guard of another stage was compiled first",
    bypassed("were not run through their guard"),
    guards=("attention",),
)
def compiled_after_another(trial: Trial) -> Any:
    first = tiny.pipeline()
    if trial.guard:
        Half().attach(first)
    with _compiling(trial):
        for pipe in (first, trial.pipe):
            pipe.unet.compile_repeated_blocks(backend="eager")
            picture = trial.draw(pipe)
    return picture


@ROUTES.route("`pipe.unet.compile()`, and a direct call", bypassed("outside a guarded call"), guards=("text",))
def compiled_and_called_directly(trial: Trial) -> Any:
    with _compiling(trial):
        trial.pipe.unet.compile(backend="eager")
        return trial.pipe.unet(*inputs()).sample


def _compiled_whole(trial: Trial, *, before: bool, in_place: bool) -> Any:
    if not before:
        trial.attach()
    if in_place:
        trial.pipe.unet.compile(backend="eager")
    else:
        trial.pipe.unet = torch.compile(trial.pipe.unet, backend="eager")
    if before:
        trial.attach()
    with torch.compiler.set_stance("force_eager"):  # compiling takes long, and nothing is to be seen there
        return trial.draw()


for name, way, before, in_place, outcome in (
    ("compiled_into_another_object", "`pipe.unet = torch.compile(pipe.unet)`", False, False, bypassed("in place")),
    ("compiled_before", "`pipe.unet.compile()` before the guard comes", True, True, refused("Attach first")),
    ("compiled_object_before", "`torch.compile` before the guard comes", True, False, refused("Attach first")),
):  # fmt: skip
    go = partial(_compiled_whole, before=before, in_place=in_place)
    ROUTES.add(name, way, go, outcome, attached=False)


# --- other modules -----------------------------------------------------------------------------------


def _replaced(name: str) -> Any:
    def go(trial: Trial) -> Any:
        setattr(trial.pipe, name, getattr(tiny.pipeline(seed=1), name))
        return trial.draw()

    return go


for name in ("unet", "vae", "text_encoder"):
    ROUTES.add(f"another_{name}", f"another `pipe.{name}`", _replaced(name), bypassed(f"pipe.{name} was replaced"))


@ROUTES.change("another denoiser, and the first one put back", SAME)
def another_denoiser_and_back(pipe: Any) -> None:
    own, pipe.unet = pipe.unet, tiny.pipeline(seed=1).unet
    pipe.unet = own


@ROUTES.change("the same tokenizer in another object", SAME)
def tokenizer_of_the_same_content(pipe: Any) -> None:
    pipe.tokenizer = copy.deepcopy(pipe.tokenizer)


@ROUTES.change("a block of another denoiser in this one", GUARDED, guards=("text", "attention"))
def another_block(pipe: Any) -> None:
    pipe.unet.mid_block = tiny.pipeline(seed=1).unet.mid_block


@ROUTES.change("another decoder in the VAE", bypassed("pipe.vae"), guards=("decoder",))
def another_decoder_in_the_vae(pipe: Any) -> None:
    pipe.vae.decoder = tiny.pipeline(seed=1).vae.decoder


@ROUTES.change("another `register_modules`", bypassed("pipe.unet was replaced"))
def registered_modules(pipe: Any) -> None:
    pipe.register_modules(unet=tiny.pipeline(seed=1).unet)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler's own
@ROUTES.tried()
def test_to_the_modules(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("__init__", "__setstate__"):  # the compiler puts its own there, which mark all modules from then on
        monkeypatch.setattr(torch.nn.Module, name, getattr(torch.nn.Module, name))
    monkeypatch.setattr(torch.nn.Module, "___needs_generation_tag_patch", True, raising=False)
    check(route)
    if "compile" in route.name:
        torch._dynamo.reset()
