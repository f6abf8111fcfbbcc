"""Chroma."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch

from .parts import flow, kl, spread, t5, t5_tokenizer
from .spec import Tiny, picture


def parts() -> dict[str, Any]:
    torch.manual_seed(0)
    transformer = diffusers.ChromaTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=[4, 4, 8],
        approximator_hidden_dim=32,
        approximator_layers=1,
        approximator_num_channels=16,
    )
    return {
        "scheduler": flow(),
        "text_encoder": t5(),
        "tokenizer": t5_tokenizer(),
        "transformer": spread(transformer),
        "vae": kl(4, 0.3611, 0.1159, False),
    }


SIZE = {"height": 16, "width": 16, "guidance_scale": 5.0, "max_sequence_length": 32}
TINY = {
    "ChromaPipeline": Tiny(parts, SIZE),
    "ChromaImg2ImgPipeline": Tiny(parts, {**SIZE, "image": partial(picture, 16), "strength": 0.9}),
}
