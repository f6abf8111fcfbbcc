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
    for device, places in by_device.items():
        blocks = max(tensors[place].nbytes for place in places) // (8 * WORDS)
        odd = torch.arange(1, 2 * (blocks + 8 * WORDS), 2, device=device)  # so that a change of one block counts
        totals = torch.stack([checksum(tensors[place], odd) for place in places])
        for place, total in zip(places, totals.tolist(), strict=True):
            found[place] = total
    return found


def checksum(tensor: Tensor, odd: Tensor) -> Tensor:
    """() int64 of a tensor's bytes: sums of its blocks, and what is left over byte by byte, each times its ``odd``."""
    flat = tensor.detach().contiguous().flatten()
    plain = (flat.clone() if flat.storage_offset() * flat.element_size() % 8 else flat).view(torch.uint8)
    whole = len(plain) // (8 * WORDS) * (8 * WORDS)
    sums = torch.cat([plain[:whole].view(torch.int64).view(-1, WORDS).sum(1), plain[whole:].long()])
    return (sums * odd[: len(sums)]).sum()
