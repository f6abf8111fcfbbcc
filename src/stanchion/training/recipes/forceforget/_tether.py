"""A tether to the stock model: on benign prompts the guarded prediction shall stay what the unguarded one is.

It is no part of ForceForget. Reward alone lets everything drift that the reward does not look at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ....pipeline.model.workbench import Workbench


@dataclass(frozen=True)
class Tether:
    """States x_t (N, …) of unguarded runs, timesteps (N,) and text states (N, L, D), and the stock noise there."""

    latents: Tensor
    timesteps: Tensor
    embeds: Tensor
    noise: Tensor

    @classmethod
    @torch.no_grad()
    def collect(cls, bench: Workbench, texts: Sequence[str], start: Tensor, *, steps: int, scale: float) -> Tether:
        """From unguarded runs over ``texts``, one from each ``start``; the empty prompt is kept at every state too."""
        embeds, empty = bench.encode(texts), bench.encode([""])
        kept: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        run = list(bench.trajectory(embeds, empty, start.to(bench.dtype), steps=steps, scale=scale))
        for time, latents in run[:-1]:
            for states in (embeds, empty.expand_as(embeds)):
                kept.append((latents, time.expand(len(latents)), states, bench.predict(latents, time, states)))
        return cls(*(torch.cat(parts) for parts in zip(*kept, strict=True)))

    def loss(self, predict: Callable[[Tensor, Tensor, Tensor], Tensor], rows: Tensor) -> Tensor:
        """(len(rows),) mean squared differences of the guarded prediction from the stock one."""
        guarded = predict(self.latents[rows], self.timesteps[rows], self.embeds[rows])
        return (guarded.float() - self.noise[rows].float()).square().flatten(1).mean(1)
