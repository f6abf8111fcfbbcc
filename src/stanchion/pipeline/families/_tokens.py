"""Which tokens text states are of, and which outputs of ``encode_prompt`` are the states of which text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .base import Said, Stream


def stream(pipe: Any, tokenizer: Any, texts: Sequence[str], length: int, *, device: Any, start: int = 0) -> Stream:
    """Token ids (B, ``length``), and a mask that is true at all that the tokenizer made of the texts themselves.

    A text may spell out tokens that end or pad others (``<|endoftext|>``); the encoder reads on behind them.
    """
    convert = getattr(pipe, "maybe_convert_prompt", None)  # textual inversion: one word, several tokens
    spoken = convert(list(texts), tokenizer) if convert else list(texts)
    options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    tokens = tokenizer(spoken, return_special_tokens_mask=True, **options)
    return Stream(start, tokens.input_ids.to(device), tokens.special_tokens_mask.to(device) == 0, tokenizer)


def prompt_and_negative(
    outputs: Sequence[Any], arguments: Mapping[str, Any], negative: int = 1, pooled: tuple[int, int] | None = None
) -> list[Said]:
    """Both from one call of ``encode_prompt``; embeddings that the caller passed in have no texts.

    ``negative`` is the place of the negative prompt's states, ``pooled`` those of the vectors beside both.
    """
    beside = pooled or (None, None)
    said = [Said("prompt", 0, arguments["prompt"] if arguments.get("prompt_embeds") is None else None, beside[0])]
    if outputs[negative] is not None and arguments["do_classifier_free_guidance"]:
        given = arguments.get("negative_prompt_embeds") is not None
        said.append(Said("negative", negative, None if given else arguments["negative_prompt"] or "", beside[1]))
    return said
