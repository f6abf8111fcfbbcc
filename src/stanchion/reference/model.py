"""The parts of the pipeline, built from stock diffusers and transformers classes."""

from __future__ import annotations

import json

import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig

from .words import CONTEXT
from .world import SIZE

LATENT = SIZE // 4  # latents are (4, LATENT, LATENT)


def build_vae(widths: tuple[int, ...] = (32, 64, 96)) -> AutoencoderKL:
    """A KL autoencoder, 48×48×3 to 12×12×4; its attention in the middle lets a decoder refuse a whole picture."""
    stages = len(widths)
    return AutoencoderKL(
        sample_size=SIZE,
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * stages,
        up_block_types=("UpDecoderBlock2D",) * stages,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        scaling_factor=1.0,
        mid_block_add_attention=True,
    )


def text_config(tokenizer: CLIPTokenizer, width: int = 128, layers: int = 4) -> CLIPTextConfig:
    """The text encoder's shape: (B, 32) token ids to (B, 32, ``width``) states."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )


def build_clip(tokenizer: CLIPTokenizer, *, width: int, layers: int, patch: int) -> CLIPModel:
    """A pair of CLIP towers over 48-pixel pictures and the world's words."""
    vision = CLIPVisionConfig(
        image_size=SIZE,
        patch_size=patch,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        projection_dim=width,
    )
    text = text_config(tokenizer, width, layers)
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=width))


def text_encoder_from(clip: CLIPModel, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A ``CLIPTextModel`` that starts as the text tower of ``clip``."""
    encoder = CLIPTextModel(clip.config.text_config)
    weights = {
        key.removeprefix("text_model."): value for key, value in clip.state_dict().items() if "text_model." in key
    }
    encoder.load_state_dict(weights)
    return encoder


def build_unet(widths: tuple[int, ...] = (32, 64, 128), text_width: int = 128) -> UNet2DConditionModel:
    """The denoiser: 12×12×4 latents, cross-attention at 6×6 and 3×3."""
    deep = len(widths) - 1
    return UNet2DConditionModel(
        sample_size=SIZE // 4,
        block_out_channels=widths,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * deep),
        up_block_types=(*("CrossAttnUpBlock2D",) * deep, "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=text_width,
        attention_head_dim=8,
        norm_num_groups=16,
    )


def build_scheduler() -> DPMSolverMultistepScheduler:
    """Stable Diffusion's noise schedule; 20 steps of DPM-Solver++ are enough for this model."""
    return DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="trailing", steps_offset=1
    )


def assemble(
    vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel
) -> StableDiffusionPipeline:
    """The stock pipeline over these parts, without a safety checker: stand-ins are what it is for."""
    return StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_flux(double: int = 2, single: int = 4, heads: int = 4, text_width: int = 128) -> FluxTransformer2DModel:
    """FLUX's transformer: 36 patches of 2 x 2 x 4 beside 32 text states, without distilled guidance."""
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=double,
        num_single_layers=single,
        attention_head_dim=32,
        num_attention_heads=heads,
        joint_attention_dim=text_width,
        pooled_projection_dim=text_width,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )


def image_ids() -> torch.Tensor:
    """FLUX's places of the patches, (36, 3)."""
    return FluxPipeline._prepare_latent_image_ids(1, LATENT // 2, LATENT // 2, torch.device("cpu"), torch.float32)


def text_ids(length: int) -> torch.Tensor:
    """FLUX's places of the text, (``length``, 3): all the same."""
    return torch.zeros(length, 3)


def assemble_flux(
    vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, transformer: FluxTransformer2DModel
) -> FluxPipeline:
    """The stock FLUX pipeline over these parts; one text encoder gives the pooled vector and the states."""
    vae.register_to_config(shift_factor=0.0)  # FluxPipeline subtracts it; None fails
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        text_encoder_2=text_encoder,
        tokenizer_2=tokenizer,
        transformer=transformer.eval(),
    )


def without_origin(config: str) -> str:
    """A config without the folder of this machine that diffusers writes into it."""
    values = json.loads(config)
    values.pop("_name_or_path", None)
    return json.dumps(values, indent=2) + "\n"
