"""SDXL, with a ControlNet where the class has one."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from .parts import clip, clip_tokenizer, control, kl, unet
from .spec import Tiny, mask, picture


def parts(*, controlled: bool = False, channels: int = 4) -> dict[str, Any]:
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    )
    denoiser = unet(
        in_channels=channels,
        out_channels=4,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=6 * 8 + 32,
        cross_attention_dim=64,
    )
    return {
        "vae": kl(scale=0.13025),
        "text_encoder": clip(),
        "text_encoder_2": clip(projected=True, act="gelu"),
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(),
        "unet": denoiser,
        "scheduler": scheduler,
        **({"controlnet": control(denoiser)} if controlled else {}),
    }


SIZE = {"height": 32, "width": 32, "guidance_scale": 5.0}
IMAGE = {"guidance_scale": 5.0, "image": picture, "strength": 1.0}
TINY = {
    "StableDiffusionXLPipeline": Tiny(parts, SIZE),
    "StableDiffusionXLImg2ImgPipeline": Tiny(parts, IMAGE),
    "StableDiffusionXLInpaintPipeline": Tiny(
        partial(parts, channels=9), {**SIZE, **IMAGE, "strength": 0.99, "mask_image": mask}
    ),
    "StableDiffusionXLControlNetPipeline": Tiny(partial(parts, controlled=True), {**SIZE, "image": picture}),
    "StableDiffusionXLControlNetImg2ImgPipeline": Tiny(
        partial(parts, controlled=True), {**SIZE, **IMAGE, "control_image": picture}
    ),
    "StableDiffusionXLControlNetInpaintPipeline": Tiny(
        partial(parts, controlled=True),
        {**SIZE, **IMAGE, "strength": 0.99, "control_image": picture, "mask_image": mask},
    ),
}
