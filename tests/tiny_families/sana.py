"""Sana."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from .parts import chat_tokenizer, flow, gemma, spread
from .spec import Tiny


def parts() -> dict[str, Any]:
    words = chat_tokenizer()
    torch.manual_seed(0)
    transformer = diffusers.SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=32,
        sample_size=32,
    )
    torch.manual_seed(4)
    vae = diffusers.AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=[1, 1],
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    ).eval()
    return {
        "tokenizer": words,
        "text_encoder": gemma(words),
        "vae": vae,
        "transformer": spread(transformer),
        "scheduler": flow(shift=3.0),
    }


TINY = {
    "SanaPipeline": Tiny(
        parts,
        {
            "height": 32,
            "width": 32,
            "guidance_scale": 4.5,
            "max_sequence_length": 32,
            "use_resolution_binning": False,
            "complex_human_instruction": None,
        },
    )
}
