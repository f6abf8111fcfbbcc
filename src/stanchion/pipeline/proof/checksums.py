"""One number for what a tensor holds: seen where a pointer or a version counter would say nothing.

It reads each byte once, which the module's own pass does too, and keeps nothing of a module's size. Blocks count by
their places, so that exchanged rows are seen. That is against accidents and other people's code, not against somebody
who looks for a collision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

WORDS = 64  # of eight bytes: a block, within which order does not count
SMALL = 1 << 15  # bytes up to which a tensor is copied beside others: a model has hundreds, each not worth a call
TOGETHER = 1 << 19  # bytes that are copied at once, at most


@torch.no_grad()
def checksums(tensors: Sequence[Tensor]) -> list[int]:
    """A number for each, exact, whatever device and threads add it up; a device is waited for once, not for each."""
    by_device: dict[torch.device, list[int]] = {}
    for place, tensor in enumerate(tensors):
        by_device.setdefault(tensor.device, []).append(place)
    found = [0] * len(tensors)
    for device, places in by_device.items():
        rows: list[Tensor] = []
        lengths: list[tuple[int, int]] = []  # of each tensor in their order: its place, its numbers
        for unit, some in _groups(tensors, places):
            rows.append(_sums([tensors[place] for place, _ in some], unit))
            lengths += [(place, size // unit) for place, size in some]
        totals = _totals(torch.cat(rows), *_weights(tuple(length for _, length in lengths), device))
        for (place, _), total in zip(lengths, totals, strict=True):
            found[place] = total
    return found


def _groups(tensors: Sequence[Tensor], places: Sequence[int]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """(unit, (place, bytes) of each): small tensors of one type and unit beside each other, others alone."""
    alike: dict[tuple[torch.dtype, int], list[tuple[int, int]]] = {}
    held: dict[tuple[torch.dtype, int], int] = {}
    for place in places:
        size = tensors[place].nbytes
        unit = _unit(size)
        if size > SMALL or unit == 1:
            yield unit, [(place, size)]
            continue
        kind = (tensors[place].dtype, unit)
        alike.setdefault(kind, []).append((place, size))
        held[kind] = held.get(kind, 0) + size
        if held[kind] > TOGETHER:
            yield unit, alike.pop(kind)
            del held[kind]
    yield from ((unit, some) for (_, unit), some in alike.items())


@cache
def _unit(size: int) -> int:
    """Bytes that make one number: those of a block; of a word, or one, where ``size`` is no whole blocks."""
    return next(unit for unit in (8 * WORDS, 8, 1) if size % unit == 0)


def _sums(tensors: Sequence[Tensor], unit: int) -> Tensor:
    """(N,) int64: one for each ``unit``, which all of them share: the sum of a block, or the word or byte itself."""
    flats = [tensor.reshape(-1) for tensor in tensors]
    flat = flats[0].contiguous() if len(flats) == 1 else torch.cat(flats)
    if flat.storage_offset() * flat.element_size() % 8:
        flat = flat.clone()
    if unit == 1:
        return flat.view(torch.uint8).long()
    words = flat.view(torch.int64)
    return words if unit == 8 else words.view(-1, WORDS).sum(1)


def _weights(lengths: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """What each number counts, an odd one for its place in its tensor; and (tensors + 1,) where these begin and end."""
    counts = torch.tensor(lengths, device=device)
    ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    places = torch.arange(sum(lengths), device=device) - ends[:-1].repeat_interleave(counts)
    return 2 * places + 1, ends


def _totals(numbers: Tensor, weights: Tensor, ends: Tensor) -> list[int]:
    """The weighted sum of each tensor's numbers: any change counts."""
    running = torch.cat([numbers.new_zeros(1), (numbers * weights).cumsum(0)])
    totals: list[int] = running[ends].diff().tolist()
    return totals
