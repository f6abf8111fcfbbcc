"""Denoisers as they are published: numbers of the models' own config files, without weights."""

from __future__ import annotations

JOINT = {"joint_attention_dim": 4096, "pooled_projection_dim": 2048, "in_channels": 16, "out_channels": 16}
MODELS = {
    "sdxl": (
        "stable_diffusion_xl",
        "UNet2DConditionModel",
        {
            "sample_size": 128,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "block_out_channels": (320, 640, 1280),
            "attention_head_dim": (5, 10, 20),
            "transformer_layers_per_block": (1, 2, 10),
            "cross_attention_dim": 2048,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    ),
    "sd3.5-large": (
        "stable_diffusion_3",
        "SD3Transformer2DModel",
        {
            **JOINT,
            "num_layers": 38,
            "num_attention_heads": 38,
            "caption_projection_dim": 2432,
            "pos_embed_max_size": 192,
            "qk_norm": "rms_norm",
        },
    ),
    "sd3.5-medium": (
        "stable_diffusion_3",
        "SD3Transformer2DModel",
        {
            **JOINT,
            "num_layers": 24,
            "num_attention_heads": 24,
            "caption_projection_dim": 1536,
            "pos_embed_max_size": 384,
            "qk_norm": "rms_norm",
            "dual_attention_layers": tuple(range(13)),
        },
    ),
    "flux.1-dev": ("flux", "FluxTransformer2DModel", {"guidance_embeds": True}),
    "qwen-image": ("qwen_image", "QwenImageTransformer2DModel", {}),
    "z-image": ("z_image", "ZImageTransformer2DModel", {}),
}
