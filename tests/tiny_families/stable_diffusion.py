"""Stable Diffusion 2.x (velocity), with a ControlNet where the class has one."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from .parts import clip, clip_tokenizer, control, kl, unet
from .spec import Tiny, mask, picture


def parts(*, controlled: bool = False, channels: int = 4) -> dict[str, Any]:
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    denoiser = unet(in_channels=channels, out_channels=4, attention_head_dim=(2, 4), cross_attention_dim=32)
    return {
        "vae": kl(),
        "text_encoder": clip(),
        "tokenizer": clip_tokenizer(),
        "unet": denoiser,
        "scheduler": scheduler,
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
        **({"controlnet": control(denoiser)} if controlled else {}),
    }


SIZE = {"height": 32, "width": 32, "guidance_scale": 5.0}
IMAGE = {"guidance_scale": 5.0, "image": picture, "strength": 1.0}
TINY = {
    "StableDiffusionPipeline": Tiny(parts, SIZE),
    "StableDiffusionImg2ImgPipeline": Tiny(parts, IMAGE),
    "StableDiffusionInpaintPipeline": Tiny(partial(parts, channels=9), {**SIZE, **IMAGE, "mask_image": mask}),
    "StableDiffusionControlNetPipeline": Tiny(partial(parts, controlled=True), {**SIZE, "image": picture}),
    "StableDiffusionControlNetImg2ImgPipeline": Tiny(
        partial(parts, controlled=True), {**SIZE, **IMAGE, "control_image": picture}
    ),
    "StableDiffusionControlNetInpaintPipeline": Tiny(
        partial(parts, controlled=True), {**SIZE, **IMAGE, "control_image": picture, "mask_image": mask}
    ),
}
