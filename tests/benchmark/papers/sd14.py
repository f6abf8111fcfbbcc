"""A model of Stable Diffusion 1.4's layers and widths with random weights, to run a paper's table to its end by hand.

python tests/benchmark/papers/sd14.py FOLDER [PIXELS]

writes 2 GB. With 128 pixels in the place of 512 a step costs a sixteenth; every layer and every weight is there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

import tiny

SCALE = 0.02  # deviation of every weight
UNET: dict[str, Any] = {
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
TEXT: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "vocab_size": 49408,
}


def _filled(module: Any) -> Any:
    """Random weights without the minute that an initialisation of a billion numbers takes."""
    module = module.to_empty(device="cpu")
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.normal_(0, SCALE).add_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        else:
            value.copy_(torch.arange(value.numel()).view(value.shape))  # positions
    return module.to(torch.float16).eval()


def pipeline(pixels: int = 512) -> StableDiffusionPipeline:
    """The tokenizer is the tests' own: CLIP's could not be had."""
    torch.manual_seed(0)
    words = tiny.tokenizer()
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=pixels // 8, **UNET)
        vae = AutoencoderKL(sample_size=pixels, **VAE)
        text = CLIPTextModel(CLIPTextConfig(**TEXT, eos_token_id=words.eos_token_id, bos_token_id=words.bos_token_id))
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    return StableDiffusionPipeline(
        _filled(vae), _filled(text), words, _filled(unet), scheduler, None, None, requires_safety_checker=False
    )


if __name__ == "__main__":
    made = pipeline(*map(int, sys.argv[2:]))
    made.save_pretrained(Path(sys.argv[1]))
    print(f"{sum(value.numel() for value in made.unet.parameters()):,} numbers in the denoiser")  # noqa: T201
