"""Lumina 2."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from .parts import chat_tokenizer, flow, gemma, kl, spread
from .spec import Tiny


def parts() -> dict[str, Any]:
    words = chat_tokenizer()
    torch.manual_seed(0)
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=4,
        hidden_size=32,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=1,
        num_kv_heads=1,
        multiple_of=16,
        ffn_dim_multiplier=None,
        norm_eps=1e-5,
        scaling_factor=1.0,
        axes_dim_rope=[12, 10, 10],
        axes_lens=[512, 64, 64],
        cap_feat_dim=32,
    )
    return {
        "transformer": spread(transformer),
        "vae": kl(4, 0.3611, 0.1159, False),
        "scheduler": flow(),
        "text_encoder": gemma(words),
        "tokenizer": words,
    }


TINY = {
    "Lumina2Pipeline": Tiny(
        parts, {"height": 32, "width": 32, "guidance_scale": 4.0, "max_sequence_length": 200, "cfg_normalization": True}
    )
}
