"""Guards' phrases that earlier calls encoded, for as long as the text encoder gives the same.

A guard encodes the same phrases in every call. They are kept with what the encoder was: its parameters (which, and
how often changed in place), its tokenizer, its options, and a probe, the empty prompt, which every call encodes anew.
Anything else, and the book is empty again: a stale concept would guard against nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..types import Condition


class PhraseCache:
    """Belongs to one attachment, whose calls wait for each other."""

    def __init__(self) -> None:
        self._encoder: tuple[Any, ...] = ()
        self._probe: Condition | None = None
        self._known: dict[tuple[str, ...], Condition] = {}

    def open(self, encoder: tuple[Any, ...], probe: Condition) -> dict[tuple[str, ...], Condition]:
        """What is known of this encoder, to read from and to write to."""
        if self._probe is None or encoder != self._encoder or not _same(probe, self._probe):
            self._encoder, self._probe, self._known = encoder, probe, {}
        return self._known


def identity_of(*parts: Any, options: tuple[Any, ...]) -> tuple[Any, ...]:
    """What an encoding depends on, encoders and tokenizers, as far as it can be told without encoding."""
    weights = tuple(
        (name, value.data_ptr(), value.dtype, value.device, None if value.is_inference() else value._version)
        for part in parts
        if isinstance(part, nn.Module)
        for name, value in part.named_parameters()
    )
    others = [getattr(part, "tokenizer", part) for part in parts if not isinstance(part, nn.Module)]  # of a processor
    tokenizers = tuple((id(part), len(part)) for part in others)
    return (weights, tokenizers, *options)


def _same(one: Condition, other: Condition) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.embeds, other.embeds, strict=True))
