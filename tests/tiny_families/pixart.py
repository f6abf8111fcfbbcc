"""PixArt-Σ, with a learned variance."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from .parts import kl, spread, t5, t5_tokenizer
from .spec import Tiny


def parts() -> dict[str, Any]:
    torch.manual_seed(0)
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
    )
    scheduler = diffusers.DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear")
    return {
        "transformer": spread(transformer),
        "vae": kl(4, 0.13025),
        "scheduler": scheduler,
        "text_encoder": t5(),
        "tokenizer": t5_tokenizer(),
    }


TINY = {
    "PixArtSigmaPipeline": Tiny(
        parts,
        {"height": 16, "width": 16, "guidance_scale": 4.5, "max_sequence_length": 32, "use_resolution_binning": False},
    )
}
