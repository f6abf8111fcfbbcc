"""What a callback may do to the modules of the call that it runs in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
from diffusers.models.attention_processor import AttnProcessor

import tiny
from bypass.routes import GUARDED, Raised, Route, Routes, bypassed
from bypass.test_callbacks import Change, adapter, drawn
from bypass.trial import Trial, check
from stanchion import GuardBypassed

ROUTES = Routes("What a callback does to the modules", guards=("text", "attention"))


def changes(way: str, outcome: Any, **options: Any) -> Callable[[Change], Change]:
    """As ``route``, of what leaves another pipeline behind."""

    def add(change: Change) -> Change:
        ROUTES.add(change.__name__, way, lambda trial: drawn(trial, change), outcome, **options)
        return change

    return add


@changes("puts another denoiser in", bypassed("pipe.unet was replaced"))
def another_denoiser(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.unet = tiny.pipeline(seed=1).unet


@changes("puts another decoder in", bypassed("pipe.vae was replaced"), guards=("text", "decoder"))
def another_decoder(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.vae = tiny.pipeline(seed=1).vae


@changes("puts another text encoder in", bypassed("pipe.text_encoder was replaced"), guards=("text",))
def text_encoder_put_in(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.text_encoder = tiny.pipeline(seed=1).text_encoder


@changes("gives the denoiser another's `forward`", bypassed(r"unet\.forward was replaced"))
def another_forward(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.unet.forward = tiny.pipeline(seed=1).unet.forward


@changes("gives the decoder another's `decode`", bypassed(r"vae\.decode was replaced"), guards=("text", "decoder"))
def another_decode(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.vae.decode = tiny.pipeline(seed=1).vae.decode


@changes("writes to the text encoder", bypassed("pipe.text_encoder was changed"))
def text_encoder_written(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.text_encoder.get_input_embeddings().weight.data[7, 3] += 1e-3


@changes("takes the hooks off the denoiser", bypassed("hook was taken off"))
def hooks_taken_off(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.unet._forward_pre_hooks.clear()


@changes("puts the stock class back", Raised(GuardBypassed))
def class_put_back_in_a_call(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.__class__ = diffusers.StableDiffusionPipeline


@changes("loads an adapter", GUARDED, but={"attention": bypassed("in the middle of a call")})
def adapter_loaded(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.unet.add_adapter(adapter())


def _changed_adapter(change: Callable[[Any], Any]) -> Any:
    def go(trial: Trial) -> Any:
        trial.pipe.unet.add_adapter(adapter())
        trial.attach()
        return drawn(trial, lambda pipe, values: change(pipe.unet))

    return go


def _louder(unet: Any) -> None:
    for name, parameter in unet.named_parameters():
        if "lora_B" in name:
            parameter.data.mul_(3.0)


for name, way, change in (
    ("adapter_written", "writes to an adapter", _louder),
    ("adapter_scaled", "sets an adapter's weight", lambda unet: unet.set_adapters(["default"], [3.0])),
    ("adapter_switched_off", "switches an adapter off", lambda unet: unet.disable_adapters()),
):
    ROUTES.add(name, way, _changed_adapter(change), GUARDED, attached=False)


@changes("fuses projections", GUARDED, but={"attention": bypassed("fuse_qkv_projections")})
def projections_fused(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.fuse_qkv_projections()


@changes("puts other attention processors in", GUARDED)
def other_processors(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.unet.set_attn_processor(AttnProcessor())


@changes("writes other weights over a weight guard's", bypassed("was changed"), guards=("weights",))
def weights_taken_out(pipe: Any, values: dict[str, Any]) -> Any:
    pipe.unet.conv_in.weight.data.add_(1.0)


@ROUTES.tried()
def test_to_the_modules(route: Route) -> None:
    check(route)
