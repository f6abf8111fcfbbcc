"""One number for what a tensor holds: seen where a pointer or a version counter would say nothing.

It reads each byte once, which the module's own pass does too, and keeps nothing of the tensor's size. Blocks count by
their places, so that exchanged rows are seen. That is against accidents and other people's code, not against somebody
who looks for a collision.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WORDS = 64  # of eight bytes: a block, within which order does not count


def checksums(tensors: Sequence[Tensor]) -> list[int]:
    """A number for each, exact, whatever device and threads add it up; a device is waited for once, not for each."""
    by_device: dict[torch.device, list[int]] = {}
    for place, tensor in enumerate(tensors):
        by_device.setdefault(tensor.device, []).append(place)
    found = [0] * len(tensors)
    for places in by_device.values():
        for place, total in zip(places, _totals([_sums(tensors[place]) for place in places]), strict=True):
            found[place] = total
    return found


def _sums(tensor: Tensor) -> Tensor:
    """(N,) int64: the sum of each block; the words, or bytes, themselves where these are no whole blocks."""
    flat = tensor.detach().reshape(-1)
    if flat.storage_offset() * flat.element_size() % 8:
        flat = flat.clone()
    if flat.nbytes % 8:
        return flat.view(torch.uint8).long()
    words = flat.view(torch.int64)
    return words if len(words) % WORDS else words.view(-1, WORDS).sum(1)


def _totals(rows: Sequence[Tensor]) -> list[int]:
    """Of each row the sum of its numbers, each times an odd one for its place: a change of one always counts.

    The rows are added up in one go: a model has hundreds of them, most too small to be worth a call each.
    """
    every = torch.cat(list(rows))
    lengths = torch.tensor([len(row) for row in rows], device=every.device)
    ends = lengths.cumsum(0)
    places = torch.arange(len(every), device=every.device) - (ends - lengths).repeat_interleave(lengths)
    running = torch.cat([every.new_zeros(1), (every * (2 * places + 1)).cumsum(0)])
    totals: list[int] = (running[ends] - running[ends - lengths]).tolist()
    return totals
