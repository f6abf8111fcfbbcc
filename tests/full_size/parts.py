"""Whole pipelines of published size with random weights in half precision: only the words are small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import transformers

from tiny_families.parts import chat_tokenizer, clip_tokenizer, flow, t5_tokenizer

from .published import MODELS

KL = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "sample_size": 1024,
}


@dataclass(frozen=True)
class Full:
    """One pipeline: its class, how its parts are made, and the options of a call of 1024 pixels with guidance."""

    kind: str
    parts: Callable[[], dict[str, Any]]
    options: dict[str, Any]


def made(name: str) -> Any:
    """The pipeline called ``name``, made where it stands: 41 GB of weights take seconds on an accelerator."""
    full = PIPELINES[name]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            parts = full.parts()
    finally:
        torch.set_default_dtype(torch.float32)
    scheduler = parts["scheduler"]
    parts["scheduler"] = type(scheduler).from_config(scheduler.config)  # its tables are numpy's too: on the CPU
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.eval().to("cuda", torch.bfloat16)  # buffers too, which are made in other places and types
    pipe = getattr(diffusers, full.kind)(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def denoiser(name: str) -> Any:
    """Fresh, but for layers that a fresh network has at zero or uninitialised."""
    _, kind, config = MODELS[name]
    module = getattr(diffusers, kind)(**config)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.isfinite().all() or not parameter.any():
                parameter.normal_(0, 0.02)
    return module


def clip(width: int, layers: int, heads: int, act: str, projected: bool = True) -> Any:
    """OpenAI's large (768, 12 layers) or LAION's big G (1280, 32)."""
    words = clip_tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=77,
        projection_dim=width,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        hidden_act=act,
    )
    return (transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel)(config)


def t5() -> Any:
    """The encoder of T5 1.1 XXL."""
    config = transformers.T5Config(
        vocab_size=32128,
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=24,
        num_heads=64,
        feed_forward_proj="gated-gelu",
    )
    return transformers.T5EncoderModel(config)


def qwen2_5_vl() -> Any:
    """Qwen2.5-VL of 7 B."""
    text = {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default", "type": "default"},
        "rope_theta": 1000000.0,
    }
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def qwen3() -> Any:
    """Qwen3 of 4 B."""
    config = transformers.Qwen3Config(
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=151936,
        max_position_embeddings=40960,
    )
    return transformers.Qwen3Model(config)


def kl(channels: int, scale: float, shift: float | None, quant: bool) -> Any:
    """The autoencoder of SDXL (4 channels), or of SD3, FLUX and Z-Image (16)."""
    more = {"scaling_factor": scale, "shift_factor": shift, "use_quant_conv": quant, "use_post_quant_conv": quant}
    return diffusers.AutoencoderKL(**KL, latent_channels=channels, **more)


def sdxl() -> dict[str, Any]:
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    )
    return {
        "vae": kl(4, 0.13025, None, True),
        "text_encoder": clip(768, 12, 12, "quick_gelu", projected=False),
        "text_encoder_2": clip(1280, 32, 20, "gelu"),
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(),
        "unet": denoiser("sdxl"),
        "scheduler": scheduler,
    }


def sd3() -> dict[str, Any]:
    return {
        "scheduler": flow(shift=3.0),
        "text_encoder": clip(768, 12, 12, "quick_gelu"),
        "text_encoder_2": clip(1280, 32, 20, "gelu"),
        "text_encoder_3": t5(),
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(),
        "tokenizer_3": t5_tokenizer(),
        "transformer": denoiser("sd3.5-large"),
        "vae": kl(16, 1.5305, 0.0609, False),
    }


def flux() -> dict[str, Any]:
    return {
        "scheduler": flow(use_dynamic_shifting=True),
        "text_encoder": clip(768, 12, 12, "quick_gelu", projected=False),
        "text_encoder_2": t5(),
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": t5_tokenizer(),
        "transformer": denoiser("flux.1-dev"),
        "vae": kl(16, 0.3611, 0.1159, False),
    }


def qwen_image() -> dict[str, Any]:
    return {
        "transformer": denoiser("qwen-image"),
        "vae": diffusers.AutoencoderKLQwenImage(),
        "scheduler": flow(use_dynamic_shifting=True),
        "text_encoder": qwen2_5_vl(),
        "tokenizer": chat_tokenizer(),
    }


def z_image() -> dict[str, Any]:
    return {
        "scheduler": flow(shift=3.0),
        "vae": kl(16, 0.3611, 0.1159, False),
        "text_encoder": qwen3(),
        "tokenizer": chat_tokenizer(),
        "transformer": denoiser("z-image"),
    }


SIZE = {"height": 1024, "width": 1024, "negative_prompt": "bad"}
TRUE = {**SIZE, "true_cfg_scale": 4.0}
PIPELINES = {
    "sdxl": Full("StableDiffusionXLPipeline", sdxl, {**SIZE, "guidance_scale": 5.0}),
    "sd3.5-large": Full("StableDiffusion3Pipeline", sd3, {**SIZE, "guidance_scale": 4.5}),
    "flux.1-dev": Full("FluxPipeline", flux, {**TRUE, "guidance_scale": 3.5}),
    "qwen-image": Full("QwenImagePipeline", qwen_image, TRUE),
    "z-image": Full("ZImagePipeline", z_image, {**SIZE, "guidance_scale": 4.0}),
}
