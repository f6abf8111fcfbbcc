"""Tokenizers, text encoders and autoencoders of random weights, as small as their classes allow."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import diffusers
import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

import tiny

CHAT = (
    "{% for m in messages %}<|im_start|>{{m['role']}}\n{{m['content']}}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@cache
def clip_tokenizer() -> Any:
    """The words of the tiny Stable Diffusion, in CLIP's usual length."""
    words = copy.deepcopy(tiny.tokenizer())
    words.model_max_length = 77
    return words


@cache
def t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(chr(code), -3.0) for code in range(33, 127)]
    pieces += [("\u2581" + word, -1.0) for word in dict.fromkeys(tiny.WORDS) if len(word) > 1] + [("\u2581a", -1.0)]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=64)


def chat_tokenizer(side: str = "right") -> Any:
    entries = [*sorted(ByteLevel.alphabet()), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocab = {entry: place for place, entry in enumerate(entries)}
    tokenizer = transformers.Qwen2Tokenizer(vocab=vocab, merges=[], model_max_length=512)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.pad_token, tokenizer.chat_template, tokenizer.padding_side = "<|endoftext|>", CHAT, side
    return tokenizer


def clip(width: int = 32, *, projected: bool = False, act: str = "quick_gelu") -> Any:
    torch.manual_seed(1)
    words = clip_tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=37,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=32,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        hidden_act=act,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config).eval()


def t5() -> Any:
    torch.manual_seed(2)
    config = transformers.T5Config(
        vocab_size=len(t5_tokenizer()), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4
    )
    return transformers.T5EncoderModel(config).eval()


def qwen3(kind: Any, words: Any) -> Any:
    torch.manual_seed(3)
    config = transformers.Qwen3Config(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=len(words),
        max_position_embeddings=512,
        head_dim=16,
    )
    return kind(config).eval()


def gemma(words: Any) -> Any:
    torch.manual_seed(3)
    config = transformers.Gemma2Config(
        head_dim=8,
        hidden_size=32,
        intermediate_size=32,
        num_attention_heads=4,
        num_hidden_layers=3,
        num_key_value_heads=4,
        vocab_size=len(words),
        attn_implementation="eager",
    )
    return transformers.Gemma2Model(config).eval()


def kl(channels: int = 4, scale: float = 0.18215, shift: float | None = None, quant: bool = True) -> Any:
    torch.manual_seed(4)
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 32),
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=8,
        sample_size=32,
        scaling_factor=scale,
        shift_factor=shift,
        use_quant_conv=quant,
        use_post_quant_conv=quant,
    ).eval()


def spread(module: Any) -> Any:
    """Weights that a fresh network has at zero, made random: else nothing that goes through them shows."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.abs().max() == 0 or not torch.isfinite(parameter).all() or "pad_token" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.05)
    return module.eval()


def loud(module: Any, *more: str) -> Any:
    """Attention that is heard: random weights of some classes let next to nothing of the text through."""
    with torch.no_grad():
        for name, parameter in spread(module).named_parameters():
            if any(part in name for part in ("to_v.", "v_proj.", "to_out.", "to_add_out.", *more)):
                parameter.mul_(8.0)
    return module


def flow(**options: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**options)


def unet(**options: Any) -> Any:
    torch.manual_seed(0)
    return spread(
        diffusers.UNet2DConditionModel(
            block_out_channels=(16, 32),
            layers_per_block=1,
            sample_size=16,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=8,
            **options,
        )
    )


def control(denoiser: Any) -> Any:
    torch.manual_seed(5)
    net = diffusers.ControlNetModel.from_unet(denoiser, conditioning_embedding_out_channels=(8, 16))
    return spread(net)
