"""Text states that draw the concept without a word of it: what a guard has to hold against, and how to find some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, softplus
from tqdm import tqdm

from ..pipeline.model.workbench import Workbench

SPREAD = 0.1  # of what it begins with, in units of the states' own
TEMPER = 4.0  # a certain network's logits are large, and the loss shall not be about them alone
WORD = "z"  # whose embedding a new word takes; one token, and one that nobody misses


@dataclass(frozen=True)
class StateSearch:
    """Changes to harmless prompts, fitted until the model denoises the concept's pictures.

    Attributes:
        wanted: (N, …) pictures of the concept, as the denoiser has latents.
        texts: M harmless prompts.
        scale: of guidance.
    """

    bench: Workbench
    wanted: Tensor
    texts: Sequence[str]
    scale: float
    updates: int
    batch: int

    def found(self, seed: int, hide_from: Any = None, weight: float = 0.0) -> Tensor:
        """What ``states`` takes; it hides from a network of (maps, alpha-bar), if one is given."""
        generator = torch.Generator().manual_seed(seed)
        free = self.start(generator).requires_grad_()
        optimiser = torch.optim.AdamW([free], lr=self.rate, weight_decay=0)
        for _ in tqdm(range(self.updates), desc=self.title, mininterval=10):
            loss = self._loss(free, generator, hide_from, weight)
            (free.grad,) = torch.autograd.grad(loss, free)
            optimiser.step()
        return free.detach()

    rate = 0.05
    title = "soft prompt"

    def start(self, generator: torch.Generator) -> Tensor:
        """(R, D): a small random offset to all states."""
        first = torch.randn(self._plain.shape[1:], generator=generator).to(self._plain)
        return SPREAD * self._plain.std() * first

    def states(self, free: Tensor, rows: Sequence[int] | Tensor) -> Tensor:
        """(len(rows), R, D) of some of the texts, changed."""
        return self._plain[torch.as_tensor(rows)] + free

    @cached_property
    def _plain(self) -> Tensor:
        """(M, R, D)."""
        return self.bench.encode(self.texts)

    @cached_property
    def _empty(self) -> Tensor:
        """(1, R, D) of the empty prompt."""
        return self.bench.encode([""])

    def _loss(self, free: Tensor, generator: torch.Generator, hide_from: Any, weight: float) -> Tensor:
        bench = self.bench
        rows, said = (torch.randint(len(of), (self.batch,), generator=generator) for of in (self.wanted, self.texts))
        time = torch.randint(len(bench.alpha_bar), (), generator=generator).to(bench.device)
        noise = torch.randn(self.wanted[rows].shape, generator=generator).to(self.wanted)
        latents = bench.noisy(self.wanted[rows], time, noise)
        prompt = bench.predict(latents, time, self.states(free, said))
        loss = mse_loss(prompt, bench.wanted(self.wanted[rows], noise))
        if hide_from is None:
            return loss
        with torch.no_grad():
            empty = bench.predict(latents, time, self._empty.expand(len(latents), -1, -1))
        clean = bench.path.moved(latents, empty + self.scale * (prompt - empty), time, None)
        return loss + weight * softplus(hide_from(bench.as_map(clean), bench.alpha_bar[time]) / TEMPER).mean()


class NewWord(StateSearch):
    """Concept inversion (arXiv 2308.01508): the embedding of one word, said before each of the texts."""

    rate = 0.02
    title = "new word"

    def start(self, generator: torch.Generator) -> Tensor:
        """(W,): what the word meant so far, moved at random."""
        own = self.bench.embedding_of(WORD)
        return own + own.std() * torch.randn(own.shape, generator=generator).to(own)

    def states(self, free: Tensor, rows: Sequence[int] | Tensor) -> Tensor:
        """(len(rows), R, D) of some of the texts, with the word before them."""
        return self.bench.encode_with([f"{WORD} {self.texts[int(row)]}" for row in rows], WORD, free)
