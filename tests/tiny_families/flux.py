"""FLUX.1: dev's guidance input, and true guidance."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch

from .parts import clip, clip_tokenizer, flow, kl, spread, t5, t5_tokenizer
from .spec import Tiny, mask, picture


def parts(*, guidance: bool = True, channels: int = 16) -> dict[str, Any]:
    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=channels,
        out_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
        guidance_embeds=guidance,
    )
    return {
        "scheduler": flow(use_dynamic_shifting=True),
        "text_encoder": clip(),
        "text_encoder_2": t5(),
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": t5_tokenizer(),
        "transformer": spread(transformer),
        "vae": kl(4, 0.3611, 0.1159, False),
    }


PLAIN = {"height": 16, "width": 16, "guidance_scale": 3.5, "max_sequence_length": 32}
SIZE = {**PLAIN, "true_cfg_scale": 4.0}
IMAGE = {**SIZE, "image": partial(picture, 16), "strength": 0.9}
TINY = {
    "FluxPipeline": Tiny(parts, SIZE),
    "FluxImg2ImgPipeline": Tiny(parts, IMAGE),
    "FluxInpaintPipeline": Tiny(parts, {**IMAGE, "mask_image": partial(mask, 16)}),
    "FluxKontextPipeline": Tiny(parts, {**SIZE, "image": partial(picture, 16), "max_area": 256, "_auto_resize": False}),
    "FluxFillPipeline": Tiny(
        partial(parts, channels=16 + 16 + 16),
        {**PLAIN, "image": partial(picture, 16), "mask_image": partial(mask, 16)},
        None,
    ),
}


def on_clip() -> Any:
    """A FluxPipeline like the reference FLUX: one CLIP gives states and vector, and guidance is true."""
    words = clip()
    made = parts(guidance=False)
    pipe = diffusers.FluxPipeline(
        **{**made, "text_encoder": words, "text_encoder_2": words, "tokenizer_2": made["tokenizer"]},
    )
    pipe.scheduler = flow()
    pipe.default_sample_size = 4
    pipe.set_progress_bar_config(disable=True)
    return pipe
