"""Text states that draw the concept without a word of it: what a monitor has to see through, and how to find some."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, softplus
from tqdm import tqdm

from ....pipeline.model.workbench import Workbench

RATE = 0.05
SPREAD = 0.1  # of what it begins with, in units of the states' own
TEMPER = 4.0  # a certain network's logits are large, and the loss shall not be about them alone


@dataclass(frozen=True)
class SoftPrompts:
    """Offsets to harmless prompts' text states, fitted until the model denoises the concept's pictures.

    Attributes:
        wanted: (N, C, H, W) pictures of the concept, as latents.
        states: (M, R, D) of harmless prompts; the offset is added to them.
        scale: of guidance.
    """

    bench: Workbench
    wanted: Tensor
    states: Tensor
    scale: float
    updates: int
    batch: int

    def found(self, seed: int, hide_from: Any = None, weight: float = 0.0) -> Tensor:
        """One offset (R, D); it hides from a network of (latents, alpha-bar), if one is given."""
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(self.states.shape[1:], generator=generator).to(self.states)
        free = (SPREAD * self.states.std() * start).requires_grad_()
        optimiser = torch.optim.AdamW([free], lr=RATE, weight_decay=0)
        for _ in tqdm(range(self.updates), desc="soft prompt", mininterval=10):
            loss = self._loss(free, generator, hide_from, weight)
            (free.grad,) = torch.autograd.grad(loss, free)
            optimiser.step()
        return free.detach()

    @cached_property
    def _empty(self) -> Tensor:
        """(1, R, D) of the empty prompt."""
        return self.bench.encode([""])

    def _loss(self, free: Tensor, generator: torch.Generator, hide_from: Any, weight: float) -> Tensor:
        bench = self.bench
        rows, said = (torch.randint(len(of), (self.batch,), generator=generator) for of in (self.wanted, self.states))
        time = torch.randint(len(bench.alpha_bar), (), generator=generator).to(bench.device)
        noise = torch.randn(self.wanted[rows].shape, generator=generator).to(self.wanted)
        latents = bench.noisy(self.wanted[rows], time, noise)
        prompt = bench.predict(latents, time, self.states[said] + free)
        loss = mse_loss(prompt, bench.wanted(self.wanted[rows], noise))
        if hide_from is None:
            return loss
        with torch.no_grad():
            empty = bench.predict(latents, time, self._empty.expand(len(latents), -1, -1))
        clean = bench.path.moved(latents, empty + self.scale * (prompt - empty), time, None)
        return loss + weight * softplus(hide_from(clean, bench.alpha_bar[time]) / TEMPER).mean()
