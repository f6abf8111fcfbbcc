"""FLUX.2 klein, not distilled."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from .parts import chat_tokenizer, flow, qwen3, spread
from .spec import Tiny


def parts(*, guidance: bool = False) -> dict[str, Any]:
    words = chat_tokenizer()
    torch.manual_seed(0)
    transformer = diffusers.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        timestep_guidance_channels=256,
        axes_dims_rope=[4, 4, 4, 4],
        guidance_embeds=guidance,
    )
    torch.manual_seed(4)
    vae = diffusers.AutoencoderKLFlux2(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()
    return {
        "scheduler": flow(),
        "text_encoder": qwen3(transformers.Qwen3ForCausalLM, words),
        "tokenizer": words,
        "transformer": spread(transformer),
        "vae": vae,
    }


SIZE = {"height": 16, "width": 16, "guidance_scale": 4.0, "max_sequence_length": 48, "text_encoder_out_layers": (1,)}
TINY = {"Flux2KleinPipeline": Tiny(parts, SIZE, None)}
