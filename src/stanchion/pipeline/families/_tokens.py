"""Which tokens text states are of, as their tokenizer made them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .base import Stream


def stream(pipe: Any, tokenizer: Any, texts: Sequence[str], length: int, *, device: Any, start: int = 0) -> Stream:
    """Token ids (B, ``length``), and a mask that is true at all that the tokenizer made of the texts themselves.

    A text may spell out tokens that end or pad others (``<|endoftext|>``); the encoder reads on behind them.
    """
    convert = getattr(pipe, "maybe_convert_prompt", None)  # textual inversion: one word, several tokens
    spoken = convert(list(texts), tokenizer) if convert else list(texts)
    options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    tokens = tokenizer(spoken, return_special_tokens_mask=True, **options)
    return Stream(start, tokens.input_ids.to(device), tokens.special_tokens_mask.to(device) == 0, tokenizer)
