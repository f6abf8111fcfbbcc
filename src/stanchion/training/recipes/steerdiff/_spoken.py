"""Captions as the text encoder gives them, with the rows where an unsafe phrase lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from ....learning.workers import Workers
from ....pipeline.model.text_bench import TextBench
from ._phrases import Framed

ENCODED_AT_ONCE = 64


@dataclass(frozen=True)
class Span:
    """Where a phrase lies in a caption: ``start`` and ``end`` of its rows, and the end of the caption's own tokens.

    ``counterpart`` is the number of tokens of the harmless phrase.
    """

    start: int
    end: int
    content: int
    counterpart: int


@dataclass(frozen=True)
class Spoken:
    """Encoded captions.

    Attributes:
        unsafe: (N, L, D) captions with an unsafe phrase.
        places: where it lies in each of them.
        counterparts: (N, L, D) the same captions with the harmless phrase.
        safe: (M, L, D) safe captions.
        lengths: the number of tokens of each of those.
        first: the row at which every caption begins.
        causal: whether what stands before a phrase has not read it.
    """

    unsafe: Tensor
    places: tuple[Span, ...]
    counterparts: Tensor
    safe: Tensor
    lengths: tuple[int, ...]
    first: int = 1
    causal: bool = True

    @classmethod
    def of(cls, bench: TextBench, captions: Sequence[Framed], safe: Sequence[str], workers: Workers) -> Self:
        """Encode captions; those whose phrase lies behind the context's end are left out."""
        limit, first = bench.rows, bench.stream.first
        located = [(caption, place) for caption, place in zip(captions, _places(bench, captions), strict=True)]
        kept = [(caption, place) for caption, place in located if place.end < limit]
        texts = [caption.unsafe for caption, _ in kept] + [caption.safe for caption, _ in kept] + list(safe)
        unsafe, counterparts, rest = encoded(bench, texts, workers).split([len(kept), len(kept), len(safe)])
        lengths = tuple(min(length, limit - 1 - first) for length in bench.lengths(safe))
        return cls(unsafe, tuple(place for _, place in kept), counterparts, rest, lengths, first, bench.stream.causal)

    def joined(self, other: Self) -> Self:
        """Both."""
        return replace(
            self,
            unsafe=torch.cat([self.unsafe, other.unsafe]),
            places=self.places + other.places,
            counterparts=torch.cat([self.counterparts, other.counterparts]),
            safe=torch.cat([self.safe, other.safe]),
            lengths=self.lengths + other.lengths,
        )

    def keeping(self, kept: Tensor) -> Self:
        """Without the safe captions that (M,) bool leaves out."""
        lengths = tuple(length for length, keep in zip(self.lengths, kept.tolist(), strict=True) if keep)
        return replace(self, safe=self.safe[kept], lengths=lengths)


def encoded(bench: TextBench, texts: Sequence[str], workers: Workers) -> Tensor:
    """(len(texts), L, D) states in single precision; every process encodes its share, and all get all of them."""
    mine = texts[workers.mine(len(texts))]
    parts = [bench.states(mine[at : at + ENCODED_AT_ONCE]).float() for at in range(0, len(mine), ENCODED_AT_ONCE)]
    return workers.gather(torch.cat(parts))


def aligned_rows(place: Span, length: int) -> Tensor:
    """(length,) for each row of a caption with an unsafe phrase: the row of its counterpart that says the same.

    Tokens of the two phrases are paired by position, the last one with what is left over; what stands behind them is
    moved by as much as the one is longer.
    """
    rows = torch.arange(length)
    longer = place.counterpart - (place.end - place.start)
    within = rows.clamp(max=place.start + place.counterpart - 1)
    behind = (rows + longer).clamp(max=length - 1)
    return torch.where(rows < place.end, torch.where(rows < place.start, rows, within), behind)


def _places(bench: TextBench, captions: Sequence[Framed]) -> Iterator[Span]:
    """By the lengths of a caption's beginnings: a word's tokens hang on what stands before it, not on what follows."""
    beginnings = ((c.before.rstrip(), c.before + c.pair.unsafe, c.before + c.pair.safe, c.unsafe) for c in captions)
    before, unsafe, safe, whole = (bench.lengths(list(texts)) for texts in zip(*beginnings, strict=True))
    limit, first = bench.rows - 1, bench.stream.first
    for b, u, s, w in zip(before, unsafe, safe, whole, strict=True):
        yield Span(first + b, first + u, min(first + w, limit), s - b)
