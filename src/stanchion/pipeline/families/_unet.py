"""What the families with a U-Net share: alpha-bar, cross-attention to padded text, [negative; prompt] in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from torch import Tensor

from ...errors import UnsupportedPipeline
from ..noise.vp import VariancePreserving
from .base import TEXT, Family, Pass


class UNet(Family):
    """Noise or velocity; ``guidance_rescale`` (arXiv 2305.08891, section 3.4) after guidance, an attribute mostly.

    A ControlNet has read the prompt of the pass whose residuals it gives; a concept has none of its own, and is
    predicted with the prompt's.
    """

    process = VariancePreserving
    denoisers = ("unet",)
    encoding = ("clip_skip",)
    scaled_by = "cross_attention_kwargs"
    sample = "sample"
    residuals: ClassVar[tuple[str, ...]] = ("down_block_additional_residuals", "mid_block_additional_residual")
    conditions = (TEXT, *residuals)
    rowed = ("timestep_cond",)
    inputs = ("timestep",)
    takes: ClassVar[Mapping[str, str]] = {}  # conditions besides the text that are known, by setting of the U-Net

    def refuses(self, kind: str) -> Mapping[str, str]:
        """Why no attention guard stands beside a ControlNet."""
        why = "a ControlNet reads the prompt through projections of its own, which no attention guard sees"
        return {"attention": why} if "ControlNet" in kind else {}

    def check_denoiser(self, denoiser: Any) -> None:
        if not isinstance(denoiser, UNet2DConditionModel):
            raise UnsupportedPipeline(
                f"the denoiser is a {type(denoiser).__name__}; this family needs UNet2DConditionModel."
            )
        for key in ("addition_embed_type", "encoder_hid_dim", "class_embed_type", "num_class_embeds"):
            if denoiser.config.get(key) != self.takes.get(key):
                raise UnsupportedPipeline(
                    f"the denoiser takes conditions besides the text ({key}={denoiser.config[key]!r}); "
                    "guards know text conditions only."
                )

    def blank(self, one: Pass, denoiser: Any) -> Tensor:
        return torch.ones_like(one.inputs["sample"][:, : denoiser.config.out_channels])

    def finish(self, pipe: Any, arguments: Mapping[str, Any], guided: Tensor, prompt: Tensor) -> Tensor:
        rescale = getattr(pipe, "guidance_rescale", arguments.get("guidance_rescale", 0.0))
        return rescale_noise_cfg(guided, prompt, guidance_rescale=rescale) if rescale > 0.0 else guided
