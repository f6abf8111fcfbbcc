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
        lengths = [_length(tensors[place]) for place in order]
        for place, total in zip(order, _totals(rows, lengths), strict=True):
            found[place] = total
    return found


def _groups(tensors: Sequence[Tensor], places: Sequence[int]) -> Iterator[list[int]]:
    """Small tensors of one type that are all whole blocks, or all whole words, beside each other; others alone."""
    alike: dict[tuple[torch.dtype, bool], list[int]] = {}
    held: dict[tuple[torch.dtype, bool], int] = {}
    for place in places:
        size = tensors[place].nbytes
        if size > SMALL or size % 8:
            yield [place]
            continue
        kind = (tensors[place].dtype, size % (8 * WORDS) == 0)
        alike.setdefault(kind, []).append(place)
        held[kind] = held.get(kind, 0) + size
        if held[kind] > TOGETHER:
            yield alike.pop(kind)
            del held[kind]
    yield from alike.values()


def _length(tensor: Tensor) -> int:
    """How many numbers ``_sums`` makes of it."""
    size = tensor.nbytes
    return size if size % 8 else size // 8 if size % (8 * WORDS) else size // (8 * WORDS)


def _sums(tensors: Sequence[Tensor]) -> Tensor:
    """(N,) int64: the sum of each block; the words, or bytes, themselves where these are no whole blocks."""
    flats = [tensor.detach().reshape(-1) for tensor in tensors]
    flat = flats[0] if len(flats) == 1 else torch.cat(flats)
    if flat.storage_offset() * flat.element_size() % 8:
        flat = flat.clone()
    if flat.nbytes % 8:
        return flat.view(torch.uint8).long()
    words = flat.view(torch.int64)
    return words if tensors[0].nbytes % (8 * WORDS) else words.view(-1, WORDS).sum(1)


def _totals(rows: Sequence[Tensor], counts: Sequence[int]) -> list[int]:
    """Of ``counts`` numbers of the rows at a time the sum, each times an odd one for its place: any change counts."""
    every = torch.cat(list(rows))
    lengths = torch.tensor(counts, device=every.device)
    ends = lengths.cumsum(0)
    places = torch.arange(len(every), device=every.device) - (ends - lengths).repeat_interleave(lengths)
    running = torch.cat([every.new_zeros(1), (every * (2 * places + 1)).cumsum(0)])
    totals: list[int] = (running[ends] - running[ends - lengths]).tolist()
    return totals
