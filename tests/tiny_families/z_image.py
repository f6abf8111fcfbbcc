"""Z-Image."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from .parts import chat_tokenizer, flow, kl, qwen3, spread
from .spec import Tiny, mask, picture


def parts() -> dict[str, Any]:
    words = chat_tokenizer()
    torch.manual_seed(0)
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        norm_eps=1e-5,
        qk_norm=True,
        cap_feat_dim=32,
        rope_theta=256.0,
        t_scale=1000.0,
        axes_dims=[8, 4, 4],
        axes_lens=[512, 32, 32],
    )
    return {
        "scheduler": flow(shift=3.0),
        "vae": kl(4, 0.3611, 0.1159),
        "text_encoder": qwen3(transformers.Qwen3Model, words),
        "tokenizer": words,
        "transformer": spread(transformer),
    }


SIZE = {"height": 32, "width": 32, "guidance_scale": 4.0, "max_sequence_length": 64, "cfg_normalization": True}
IMAGE = {**SIZE, "image": picture, "strength": 0.9}
TINY = {
    "ZImagePipeline": Tiny(parts, SIZE, None),
    "ZImageImg2ImgPipeline": Tiny(parts, IMAGE, None),
    "ZImageInpaintPipeline": Tiny(parts, {**IMAGE, "mask_image": mask}, None),
}
