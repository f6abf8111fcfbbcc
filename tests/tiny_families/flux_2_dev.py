"""FLUX.2 dev, with a tokenizer in the place of the processor, which needs torchvision; both know chat templates."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from . import flux_2
from .parts import chat_tokenizer
from .spec import Tiny

CHAT = (
    "{% for m in messages %}<|im_start|>{{m['role']}}\n{% for c in m['content'] %}{{c['text']}}{% endfor %}<|im_end|>"
    "{% endfor %}"
)


def parts() -> dict[str, Any]:
    words = chat_tokenizer()
    words.chat_template = CHAT
    torch.manual_seed(3)
    text = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": len(words),
    }
    sight = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
    }
    config = transformers.Mistral3Config(
        text_config={**text, "model_type": "mistral"}, vision_config={**sight, "model_type": "pixtral"}
    )
    encoder = transformers.Mistral3ForConditionalGeneration(config).eval()
    return {**flux_2.parts(guidance=True), "tokenizer": words, "text_encoder": encoder}


SIZE = {**flux_2.SIZE, "max_sequence_length": 256}
TINY = {"Flux2Pipeline": Tiny(parts, SIZE, None)}
