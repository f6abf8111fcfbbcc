"""AuraFlow."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from .parts import flow, kl, loud, t5, t5_tokenizer
from .spec import Tiny


def parts() -> dict[str, Any]:
    torch.manual_seed(0)
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        out_channels=4,
        pos_embed_max_size=256,
    )
    return {
        "scheduler": flow(shift=1.73),
        "text_encoder": t5(),
        "tokenizer": t5_tokenizer(),
        "transformer": loud(transformer, ".linear."),
        "vae": kl(4, 0.13025),
    }


TINY = {"AuraFlowPipeline": Tiny(parts, {"height": 16, "width": 16, "guidance_scale": 3.5, "max_sequence_length": 32})}
