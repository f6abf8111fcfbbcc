"""SD3.5-medium: a block that attends within the picture, three text encoders."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from .parts import clip, clip_tokenizer, flow, kl, spread, t5, t5_tokenizer
from .spec import Tiny, mask, picture


def parts() -> dict[str, Any]:
    torch.manual_seed(0)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=16,
        patch_size=1,
        in_channels=16,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        out_channels=16,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
    )
    return {
        "scheduler": flow(shift=3.0),
        "text_encoder": clip(16, projected=True),
        "text_encoder_2": clip(16, projected=True, act="gelu"),
        "text_encoder_3": t5(),
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(),
        "tokenizer_3": t5_tokenizer(),
        "transformer": spread(transformer),
        "vae": kl(16, 1.5305, 0.0609, False),
    }


SIZE = {"height": 32, "width": 32, "guidance_scale": 5.0, "max_sequence_length": 32}


def two() -> list[Any]:
    """One a prompt: this pipeline does not copy it where there are several generators."""
    return [picture(), picture()]


TINY = {
    "StableDiffusion3Pipeline": Tiny(parts, SIZE),
    "StableDiffusion3Img2ImgPipeline": Tiny(parts, {**SIZE, "image": two, "strength": 0.9}),
    "StableDiffusion3InpaintPipeline": Tiny(parts, {**SIZE, "image": two, "mask_image": mask, "strength": 0.9}),
}
