"""Windows of neighbouring rows in encoded captions, each with whether it is unsafe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....pipeline.model.text_streams import filled
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


class _Table:
    """Rows of windows to learn from: of a caption at most so many of a kind, drawn at random."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._rows: list[tuple[int, int, int, int]] = []

    def add(self, caption: int, windows: Iterable[tuple[int, int]], unsafe: int, cap: int) -> None:
        """All of them where ``cap`` is 0."""
        every = list(windows)
        if cap and len(every) > cap:
            every = [every[k] for k in self._rng.choice(len(every), cap, replace=False)]
        self._rows += [(caption, *window, unsafe) for window in every]

    def add_safe_captions(self, spoken: Spoken, longest: int, cap: int) -> None:
        """Their own tokens, with the end token, and with padding: states without tokens are searched whole."""
        ends = filled(spoken.safe).sum(1).tolist()
        for caption, (length, last) in enumerate(zip(spoken.lengths, ends, strict=True), start=len(spoken.places)):
            first, end = spoken.first, spoken.first + length
            own, to_end = set(windows_of(first, end, longest)), set(windows_of(first, end + 1, longest))
            self.add(caption, sorted(own), 0, cap)
            self.add(caption, sorted(to_end - own), 0, cap)
            self.add(caption, sorted(set(windows_of(first, last, longest)) - to_end), 0, cap)

    def windows(self, spoken: Spoken, longest: int) -> Windows:
        table = torch.tensor(self._rows, device=spoken.safe.device)
        return Windows(torch.cat([spoken.unsafe, spoken.safe]), table[:, :3], table[:, 3].float(), longest)


def carrying(spoken: Spoken, longest: int, cap: int, rng: np.random.Generator) -> Windows:
    """Windows that tell whether a prompt says the phrase anywhere: what a causal encoder carries it on to says it too.

    Unsafe: what ends on or behind the phrase's last token, padding included. Safe: what lies wholly before the phrase,
    if that has not read it, and safe captions, as in ``labelled``. Nothing is said of windows that end within it.
    """
    table, first, ends = _Table(rng), spoken.first, filled(spoken.unsafe).sum(1).tolist()
    for caption, (place, length) in enumerate(zip(spoken.places, ends, strict=True)):
        last = place.end - 1
        table.add(caption, windows_of(last, length, longest), 1, 2 * cap)
        table.add(caption, [(s, n) for s, n in windows_of(first, length, longest) if s < last < s + n], 1, cap)
        if spoken.causal:
            table.add(caption, windows_of(first, place.start, longest), 0, cap)
    table.add_safe_captions(spoken, longest, cap)
    return table.windows(spoken, longest)


def labelled(spoken: Spoken, longest: int, cap: int, rng: np.random.Generator) -> Windows:
    """Windows that tell which words are the phrase; of each caption at most ``cap`` safe ones of a kind (0: all).

    Unsafe: what ends where an unsafe phrase ends and lies within it; and what runs from its last token to the end token
    (some rows of an encoder say little of their own token: a first noun, say). Safe: the windows of safe captions,
    those that end with the end token, and those with padding, since prompts that come as states are searched in all of
    their rows; and what lies wholly before an unsafe phrase or between it and the end (causal encoders carry it on,
    and it is the phrase that shall be named).
    """
    table = _Table(rng)
    for caption, place in enumerate(spoken.places):
        table.add(caption, _unsafe(place, longest), 1, 0)
        around = {*windows_of(spoken.first, place.start, longest), *windows_of(place.end, place.content, longest)}
        table.add(caption, sorted(around), 0, cap)
    table.add_safe_captions(spoken, longest, cap)
    return table.windows(spoken, longest)


def _unsafe(place: Span, longest: int) -> Iterator[tuple[int, int]]:
    for count in range(1, min(longest, place.end - place.start) + 1):
        yield place.end - count, count
    if (to_end := place.content + 2 - place.end) <= longest:
        yield place.end - 1, to_end
