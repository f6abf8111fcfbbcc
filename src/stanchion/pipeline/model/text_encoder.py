"""The text encoder as attacks and searches use it: token ids, words, and states with gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from diffusers.utils import USE_PEFT_BACKEND, scale_lora_layers, unscale_lora_layers
from torch import Tensor, nn

from ..freezing import frozen


class TextEncoder:
    """Text encoder and tokenizer of a pipeline."""

    def __init__(self, pipe: Any) -> None:
        self._encoder, self._tokenizer = pipe.text_encoder, pipe.tokenizer

    @cached_property
    def table(self) -> Tensor:
        """(V, W) token embeddings; a copy without gradient."""
        return self._encoder.get_input_embeddings().weight.detach().clone()

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of start, end and padding."""
        return tuple(sorted(set(self._tokenizer.all_special_ids)))

    def ids(self, texts: Sequence[str]) -> Tensor:
        """(B, L), padded to the full length, cut where a text is too long."""
        options = {"padding": "max_length", "max_length": self._tokenizer.model_max_length, "truncation": True}
        return self._tokenizer(list(texts), return_tensors="pt", **options).input_ids.to(self._encoder.device)

    def words(self, ids: Tensor) -> list[str]:
        """(B, N) ids as texts."""
        return [self._tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids]

    def encode(self, ids: Tensor | None, token_embeds: Tensor | None = None) -> Tensor:
        """(B, L, D) states; of (B, L, W) rows in the place of those of the table, where they are given."""
        with frozen(self._encoder):
            if token_embeds is None:
                return self._encoder(ids)[0]
            unread = torch.zeros(token_embeds.shape[:2], dtype=torch.long, device=token_embeds.device)
            with _replaced(self._encoder.get_input_embeddings(), token_embeds):
                return self._encoder(unread if ids is None else ids)[0]


@contextmanager
def at_scale(encoders: Sequence[nn.Module | None], scale: float | None) -> Iterator[None]:
    """Text encoders with their adapters (LoRA) at a call's scale, as ``encode_prompt`` has them while it encodes."""
    scaled = [] if scale is None or not USE_PEFT_BACKEND else [encoder for encoder in encoders if encoder is not None]
    for encoder in scaled:
        scale_lora_layers(encoder, scale)
    try:
        yield
    finally:
        for encoder in scaled:
            unscale_lora_layers(encoder, scale)


@contextmanager
def _replaced(table: nn.Module, rows: Tensor) -> Iterator[None]:
    """Whatever ids the table is asked for, it gives these rows."""
    handle = table.register_forward_hook(lambda module, args, output: rows.to(output.dtype))
    try:
        yield
    finally:
        handle.remove()
