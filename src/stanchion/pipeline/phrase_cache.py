"""Guards' phrases that earlier calls encoded, for as long as the text encoder gives the same.

A guard encodes the same phrases in every call. They are kept with what the encoder was: its parameters (which, and
how often changed in place), its tokenizer, its options, and a probe, the empty prompt, which every call encodes anew.
Anything else, and the book is empty again: a stale concept would guard against nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class PhraseBook:
    """Belongs to one attachment, whose calls wait for each other."""

    def __init__(self) -> None:
        self._encoder: tuple[Any, ...] = ()
        self._probe: Tensor | None = None
        self._known: dict[tuple[str, ...], Tensor] = {}

    def open(self, encoder: tuple[Any, ...], probe: Tensor) -> dict[tuple[str, ...], Tensor]:
        """What is known of this encoder, to read from and to write to."""
        if self._probe is None or encoder != self._encoder or not torch.equal(probe, self._probe):
            self._encoder, self._probe, self._known = encoder, probe, {}
        return self._known


def identity_of(encoder: Any, tokenizer: Any, *options: Any) -> tuple[Any, ...]:
    """What an encoding depends on, as far as it can be told without encoding."""
    weights = tuple(
        (name, value.data_ptr(), value.dtype, value.device, None if value.is_inference() else value._version)
        for name, value in encoder.named_parameters()
    )
    return (weights, id(tokenizer), len(tokenizer), *options)
