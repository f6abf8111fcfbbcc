"""One number for what a tensor holds: seen where a pointer or a version counter would say nothing.

It reads each byte once, which the module's own pass does too, and keeps nothing of a module's size. Blocks count by
their places, so that exchanged rows are seen. That is against accidents and other people's code, not against somebody
who looks for a collision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

WORDS = 64  # of eight bytes: a block, within which order does not count
SMALL = 1 << 15  # bytes up to which a tensor is copied beside others: a model has hundreds, each not worth a call
TOGETHER = 1 << 19  # bytes that are copied at once, at most


def checksums(tensors: Sequence[Tensor]) -> list[int]:
    """A number for each, exact, whatever device and threads add it up; a device is waited for once, not for each."""
    by_device: dict[torch.device, list[int]] = {}
    for place, tensor in enumerate(tensors):
        by_device.setdefault(tensor.device, []).append(place)
    found = [0] * len(tensors)
    for places in by_device.values():
        rows, order = [], []
        for some in _groups(tensors, places):
            rows.append(_sums([tensors[place] for place in some]))
            order += some
        lengths = [tensors[place].nbytes // _unit(tensors[place]) for place in order]
        for place, total in zip(order, _totals(rows, lengths), strict=True):
            found[place] = total
    return found


def _groups(tensors: Sequence[Tensor], places: Sequence[int]) -> Iterator[list[int]]:
    """Small tensors of one type that are all whole blocks, or all whole words, beside each other; others alone."""
    alike: dict[tuple[torch.dtype, int], list[int]] = {}
    held: dict[tuple[torch.dtype, int], int] = {}
    for place in places:
        size, unit = tensors[place].nbytes, _unit(tensors[place])
        if size > SMALL or unit == 1:
            yield [place]
            continue
        kind = (tensors[place].dtype, unit)
        alike.setdefault(kind, []).append(place)
        held[kind] = held.get(kind, 0) + size
        if held[kind] > TOGETHER:
            yield alike.pop(kind)
            del held[kind]
    yield from alike.values()


def _unit(tensor: Tensor) -> int:
    """Bytes that make one number: those of a block; of a word, or one, where they are no whole blocks."""
    return next(unit for unit in (8 * WORDS, 8, 1) if tensor.nbytes % unit == 0)


def _sums(tensors: Sequence[Tensor]) -> Tensor:
    """(N,) int64: one for each ``_unit``, which all of them share: the sum of a block, or the word or byte itself."""
    flats = [tensor.detach().reshape(-1) for tensor in tensors]
    flat = flats[0] if len(flats) == 1 else torch.cat(flats)
    if flat.storage_offset() * flat.element_size() % 8:
        flat = flat.clone()
    unit = _unit(tensors[0])
    if unit == 1:
        return flat.view(torch.uint8).long()
    words = flat.view(torch.int64)
    return words if unit == 8 else words.view(-1, WORDS).sum(1)


def _totals(rows: Sequence[Tensor], counts: Sequence[int]) -> list[int]:
    """Of ``counts`` numbers of the rows at a time the sum, each times an odd one for its place: any change counts."""
    every = torch.cat(list(rows))
    lengths = torch.tensor(counts, device=every.device)
    ends = lengths.cumsum(0)
    places = torch.arange(len(every), device=every.device) - (ends - lengths).repeat_interleave(lengths)
    running = torch.cat([every.new_zeros(1), (every * (2 * places + 1)).cumsum(0)])
    totals: list[int] = (running[ends] - running[ends - lengths]).tolist()
    return totals
