"""Windows of neighbouring rows in encoded captions, each with whether it is unsafe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ._spoken import Span, Spoken


@dataclass(frozen=True)
class Windows:
    """Windows by where they lie.

    Attributes:
        states: (N, L, D) text states of N captions.
        places: (M, 3) caption, first row and number of rows of each window.
        unsafe: (M,) 1 or 0.
        longest: rows of the tensor that a window is padded to.
    """

    states: Tensor
    places: Tensor
    unsafe: Tensor
    longest: int

    def __len__(self) -> int:
        return len(self.places)

    def take(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """(n, longest, D) windows, zero behind their end, and (n,) whether they are unsafe."""
        caption, start, count = self.places[chosen].T
        place = torch.arange(self.longest, device=self.states.device)
        rows = (start[:, None] + place).clamp(max=self.states.shape[1] - 1)
        return self.states[caption[:, None], rows] * (place < count[:, None])[..., None], self.unsafe[chosen]


def windows_of(start: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    """First row and number of rows of every window in [start, end); 9 n - 36 where longest is 9 and n at least that."""
    for first in range(start, end):
        for count in range(1, min(longest, end - first) + 1):
            yield first, count


def labelled(spoken: Spoken, longest: int, cap: int, rng: np.random.Generator) -> Windows:
    """Windows to learn from; of each caption at most ``cap`` safe ones of a kind, drawn at random (0: all of them).

    Unsafe: what ends where an unsafe phrase ends and lies within it; and what runs from its last token to the end token
    (some rows of an encoder say little of their own token: a first noun, say). Safe: the windows of safe captions,
    those that end with the end token, and those with padding, since prompts that come as states are searched in all of
    their rows; and what lies wholly before an unsafe phrase or between it and the end (causal encoders carry it on,
    and it is the phrase that shall be named).
    """
    rows: list[tuple[int, int, int, int]] = []

    def add_safe(caption: int, windows: Iterable[tuple[int, int]]) -> None:
        every = sorted(windows)
        if cap and len(every) > cap:
            every = [every[k] for k in rng.choice(len(every), cap, replace=False)]
        rows.extend((caption, *window, 0) for window in every)

    for caption, place in enumerate(spoken.places):
        rows += [(caption, *window, 1) for window in _unsafe(place, longest)]
        add_safe(caption, {*windows_of(1, place.start, longest), *windows_of(place.end, place.content, longest)})
    for caption, length in enumerate(spoken.lengths, start=len(spoken.places)):
        own, to_end = set(windows_of(1, 1 + length, longest)), set(windows_of(1, 2 + length, longest))
        add_safe(caption, own)
        add_safe(caption, to_end - own)
        add_safe(caption, set(windows_of(1, spoken.safe.shape[1], longest)) - to_end)
    table = torch.tensor(rows, device=spoken.safe.device)
    return Windows(torch.cat([spoken.unsafe, spoken.safe]), table[:, :3], table[:, 3].float(), longest)


def _unsafe(place: Span, longest: int) -> Iterator[tuple[int, int]]:
    for count in range(1, min(longest, place.end - place.start) + 1):
        yield place.end - count, count
    if (to_end := place.content + 2 - place.end) <= longest:
        yield place.end - 1, to_end
