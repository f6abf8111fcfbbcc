"""Qwen-Image."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from .parts import chat_tokenizer, flow, spread
from .spec import Tiny, mask, picture


def parts() -> dict[str, Any]:
    words = chat_tokenizer()
    torch.manual_seed(0)
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=3,
        joint_attention_dim=16,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )
    torch.manual_seed(4)
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=24,
        z_dim=4,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.1] * 4,
        latents_std=[2.0] * 4,
    ).eval()
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": len(words),
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
        "rope_theta": 1000000.0,
    }
    config = transformers.Qwen2_5_VLConfig(
        text_config=text,
        vision_config={"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
        hidden_size=16,
        vocab_size=len(words),
        vision_end_token_id=1,
        vision_start_token_id=2,
        vision_token_id=3,
    )
    torch.manual_seed(3)
    return {
        "transformer": spread(transformer),
        "vae": vae,
        "scheduler": flow(use_dynamic_shifting=True),
        "text_encoder": transformers.Qwen2_5_VLForConditionalGeneration(config).eval(),
        "tokenizer": words,
    }


SIZE = {"height": 32, "width": 32, "true_cfg_scale": 4.0, "max_sequence_length": 400}
IMAGE = {**SIZE, "image": picture, "strength": 0.9}
TINY = {
    "QwenImagePipeline": Tiny(parts, SIZE, " bad"),
    "QwenImageImg2ImgPipeline": Tiny(parts, IMAGE, " bad"),
    "QwenImageInpaintPipeline": Tiny(parts, {**IMAGE, "mask_image": mask}, " bad"),
}
