"""Several processes that train one guard, as ``torchrun`` starts them; one process alone is the same code.

Everybody draws the whole batch's randomness from the same seed, works on its own rows, and the gradients are added
up. So N processes take the step that one would have taken, up to the order of a sum.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Workers:
    """This process (``rank``) among ``size`` of them."""

    rank: int = 0
    size: int = 1

    @classmethod
    def start(cls) -> Workers:
        """Join the processes that ``torchrun`` started, over gloo or nccl; alone where it did not."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def mine(self, count: int) -> slice:
        """The rows of a batch of ``count`` that are this process's; some may have one row more than others."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over the processes; each must have divided its loss by the whole batch."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def gather(self, rows: Tensor) -> Tensor:
        """Everybody's rows, in the order of the batch; the same on every process."""
        if self.size == 1:
            return rows
        parts: list[Tensor] = [torch.empty(0)] * self.size
        dist.all_gather_object(parts, rows.cpu())
        return torch.cat(parts).to(rows.device)

    def wait(self) -> None:
        """Return when everybody has come here."""
        if self.size > 1:
            dist.barrier()


ALONE = Workers()
