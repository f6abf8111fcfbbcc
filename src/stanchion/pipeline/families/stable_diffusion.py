"""Stable Diffusion 1.x and 2.x: one text encoder, cross-attention, [negative; prompt] in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from torch import Tensor

from ...errors import UnsupportedPipeline
from ...types import Condition
from ..noise.flow import Flow
from ._tokens import stream
from .base import Family, Pass, Said, Stream


class StableDiffusion(Family):
    """Noise or velocity; ``guidance_rescale`` (arXiv 2305.08891, section 3.4) after guidance."""

    name = "stable_diffusion"
    title = "Stable Diffusion"
    classes = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
    denoisers = ("unet",)
    sample = "sample"
    rowed = ("timestep_cond",)
    inputs = ("timestep",)

    def check_denoiser(self, denoiser: Any) -> None:
        if not isinstance(denoiser, UNet2DConditionModel):
            raise UnsupportedPipeline(
                f"the denoiser is a {type(denoiser).__name__}; this family needs UNet2DConditionModel."
            )
        for key in ("addition_embed_type", "encoder_hid_dim", "class_embed_type", "num_class_embeds"):
            if denoiser.config.get(key) is not None:
                raise UnsupportedPipeline(
                    f"the denoiser takes conditions besides the text ({key}={denoiser.config[key]!r}); "
                    "guards know text conditions only."
                )

    def check_scheduler(self, scheduler: Any) -> None:
        if Flow.fits(scheduler):
            raise UnsupportedPipeline(
                f"{type(scheduler).__name__} has no diffusion noise schedule (alphas_cumprod), as {self.title} was "
                "trained on; use e.g. DDIMScheduler."
            )
        super().check_scheduler(scheduler)

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        scale = (arguments.get("cross_attention_kwargs") or {}).get("scale")
        options = {"clip_skip": arguments.get("clip_skip"), "lora_scale": scale}
        return Condition(pipe.encode_prompt(list(texts), pipe._execution_device, 1, False, **options)[0])

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments)

    def token_streams(self, pipe: Any, texts: Sequence[str], states: Tensor) -> list[Stream]:
        return [stream(pipe, pipe.tokenizer, texts, states.shape[1], device=states.device)]

    def blank(self, one: Pass, denoiser: Any) -> Tensor:
        return torch.ones_like(one.inputs["sample"][:, : denoiser.config.out_channels])

    def finish(self, pipe: Any, arguments: Mapping[str, Any], guided: Tensor, prompt: Tensor) -> Tensor:
        rescale = getattr(pipe, "guidance_rescale", 0.0)
        return rescale_noise_cfg(guided, prompt, guidance_rescale=rescale) if rescale > 0.0 else guided


def prompt_and_negative(outputs: Sequence[Any], arguments: Mapping[str, Any], negative: int = 1) -> list[Said]:
    """Both from one call of ``encode_prompt``; embeddings that the caller passed in have no texts."""
    said = [Said("prompt", 0, arguments["prompt"] if arguments.get("prompt_embeds") is None else None)]
    if outputs[negative] is not None and arguments["do_classifier_free_guidance"]:
        given = arguments.get("negative_prompt_embeds") is not None
        said.append(Said("negative", negative, None if given else arguments["negative_prompt"] or ""))
    return said
