"""CogView4."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from .parts import chat_tokenizer, flow, kl, loud
from .spec import Tiny


def parts() -> dict[str, Any]:
    words = chat_tokenizer("left")
    torch.manual_seed(0)
    transformer = diffusers.CogView4Transformer2DModel(
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=4,
        num_attention_heads=4,
        out_channels=4,
        text_embed_dim=32,
        time_embed_dim=8,
        condition_dim=4,
        rope_axes_dim=(2, 2),
    )
    config = transformers.GlmConfig(
        hidden_size=32,
        intermediate_size=8,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=len(words),
        pad_token_id=words.pad_token_id,
    )
    torch.manual_seed(3)
    scheduler = flow(
        base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True, time_shift_type="linear"
    )
    return {
        "tokenizer": words,
        "text_encoder": transformers.GlmModel(config).eval(),
        "vae": kl(4, 1.0, 0.0),
        "transformer": loud(transformer),
        "scheduler": scheduler,
    }


TINY = {"CogView4Pipeline": Tiny(parts, {"height": 32, "width": 32, "guidance_scale": 5.0, "max_sequence_length": 32})}
