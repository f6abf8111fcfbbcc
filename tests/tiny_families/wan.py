"""Wan 2.2: two denoisers, one frame."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from .parts import loud, t5, t5_tokenizer
from .spec import Tiny


def parts() -> dict[str, Any]:
    def transformer(seed: int) -> Any:
        torch.manual_seed(seed)
        return loud(
            diffusers.WanTransformer3DModel(
                patch_size=(1, 2, 2),
                num_attention_heads=2,
                attention_head_dim=12,
                in_channels=16,
                out_channels=16,
                text_dim=32,
                freq_dim=32,
                ffn_dim=32,
                num_layers=2,
                cross_attn_norm=True,
                qk_norm="rms_norm_across_heads",
                rope_max_seq_len=32,
            )
        )

    torch.manual_seed(4)
    vae = diffusers.AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    ).eval()
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
    )
    return {
        "transformer": transformer(0),
        "transformer_2": transformer(1),
        "boundary_ratio": 0.6,
        "vae": vae,
        "scheduler": scheduler,
        "text_encoder": t5(),
        "tokenizer": t5_tokenizer(),
    }


TINY = {
    "WanPipeline": Tiny(
        parts,
        {
            "height": 16,
            "width": 16,
            "num_frames": 1,
            "guidance_scale": 5.0,
            "guidance_scale_2": 3.0,
            "max_sequence_length": 32,
        },
    )
}
