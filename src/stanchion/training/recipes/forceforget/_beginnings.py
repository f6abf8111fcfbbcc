"""Pictures of the concept that runs may begin with, as image to image does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ....pipeline.model.workbench import Workbench
from ...prompts.pool import Task


@dataclass(frozen=True)
class Beginnings:
    """Tasks, and the latents (N, …) of the picture that the unguarded model draws for each."""

    tasks: Sequence[Task]
    latents: Tensor

    @classmethod
    @torch.no_grad()
    def collect(cls, bench: Workbench, tasks: Sequence[Task], start: Tensor, *, steps: int, scale: float) -> Beginnings:
        """From unguarded runs, one from each ``start``."""
        embeds, empty = bench.encode([task.text for task in tasks]), bench.encode([""])
        *_, (_, latents) = bench.trajectory(embeds, empty, start.to(bench.dtype), steps=steps, scale=scale)
        return cls(tasks, latents.float())
