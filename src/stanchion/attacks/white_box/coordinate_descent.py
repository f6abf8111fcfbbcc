"""Coordinate descent over the tokens of a prefix, with which the guarded model denoises the concept's picture well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ...config import Natural, NotNegative, checked
from ...targets.protocols import WhiteBox
from ...types import Access, Adversarial, Budget, Prompt
from ..base import PromptAttack
from ..pictures import picture_errors, wanted_pictures
from ..tokens import framed, free_ids, own_ids, swap_gradient

TIMESTEPS = 1000  # of training


@checked
@dataclass(frozen=True)
class CoordinateDescentSettings:
    """Settings of ``CoordinateDescent``; numbers are 1 or more.

    Attributes:
        length: free tokens of the prefix.
        rounds: over all of them; a candidate after each that improved something.
        bank: pairs of timestep and noise that every loss is averaged over; fixed, evenly spaced in time.
        top: tokens that the gradient proposes for a place.
        tried: how many of these, at random, are tried.
        decoded: weight of the picture's error behind the decoder, where that is guarded, beside the noise's.
    """

    length: Natural = 5
    rounds: Natural = 6
    bank: Natural = 4
    top: Natural = 64
    tried: Natural = 16
    decoded: NotNegative = 0.1


class CoordinateDescent(PromptAttack[WhiteBox]):
    """Changes one token of a prefix at a time, for the better only.

    The idea is RECORD's (arXiv 2502.17537), of which the abstract alone was read: everything below is our choice, so it
    does not bear that name. The loss is UnlearnDiffAtk's, averaged over a fixed bank of timesteps and noises; for each
    place in turn the gradient proposes tokens, some of these are tried, and the best is kept where it improves the
    loss. After each entry of the bank the worse half of those that are tried is given up.

    "paper" is the size that fits Stable Diffusion: 256 proposed, 64 tried, a bank of 16.
    """

    name = "coordinate_descent"
    access: ClassVar[Access] = Access.WHITE_BOX
    Settings = CoordinateDescentSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {"bank": 16, "top": 256, "tried": 64, "rounds": 20, "decoded": 0.0},
        "tiny": {"length": 2, "rounds": 2, "bank": 2, "top": 4, "tried": 2},
    }

    def run(
        self, target: WhiteBox, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        """Yields nothing where the prompt leaves no room for the prefix."""
        own, free, length = own_ids(target, prompt.text), free_ids(target), self.settings.length
        if len(own) + length > target.tokenize([""]).shape[1] - 2:
            return
        bank = Bank.of(target, prompt, self.settings.bank, self.settings.decoded, generator)
        ids = torch.cat([free[torch.randint(len(free), (length,), generator=generator)], own])
        loss, before = bank.best(ids[None])[1], float("inf")
        for _ in range(self.settings.rounds):
            for place in range(length):
                ids, loss = self._exchanged(bank, ids, place, loss, free, generator)
            if loss < before:
                yield Adversarial(text=target.words(ids[None])[0], note={"loss": round(loss, 5)})
            before = loss

    def _exchanged(
        self, bank: Bank, ids: Tensor, place: int, loss: float, free: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, float]:
        """(K,) token ids with a better token in that place, or as they were; and their loss."""
        gradient = bank.gradient(ids)[place]
        proposed = free[(-gradient[free]).topk(min(self.settings.top, len(free))).indices]
        tried = proposed[torch.randperm(len(proposed), generator=generator)[: self.settings.tried]]
        rows = ids.repeat(len(tried), 1)
        rows[:, place] = tried
        best, lowest = bank.best(rows)
        return (best, lowest) if lowest < loss else (ids, loss)


class Bank(NamedTuple):
    """Noised latents of the picture that the unguarded model draws of a prompt, each with its noise and timestep."""

    target: WhiteBox
    latents: Tensor
    noise: Tensor
    timesteps: list[int]
    decoded: float
    picture: Tensor | None

    @classmethod
    def of(cls, target: WhiteBox, prompt: Prompt, count: int, decoded: float, generator: torch.Generator) -> Bank:
        """The picture has the prompt's seed."""
        clean = target.base.latents([prompt.text], seeds=[prompt.seed], step=target.steps)
        noise = torch.randn(count, *target.latent_shape, generator=generator).to(clean)
        timesteps = [int(TIMESTEPS * (place + 0.5) / count) for place in range(count)]
        latents = [target.noisy(clean, time, noise[row, None]) for row, time in enumerate(timesteps)]
        picture = wanted_pictures(target, clean, decoded)
        return cls(target, torch.cat(latents), noise, timesteps, decoded, picture)

    def errors(self, entry: int, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """(B,) errors at one entry, of (B, L) token ids, with (B, L, W) embeddings of them."""
        latents = self.latents[entry].expand(len(ids), -1, -1, -1)
        timestep = self.timesteps[entry]
        seen = self.target.predict_noise(latents, timestep, ids=ids, token_embeds=rows)
        behind = picture_errors(self.target, latents, timestep, seen, self.picture)
        return (seen - self.noise[entry]).square().mean((1, 2, 3)) + self.decoded * behind

    def gradient(self, ids: Tensor) -> Tensor:
        """(K, V): of the loss of (K,) token ids, for every token in each place."""
        full = framed(self.target, ids[None])

        def loss(rows: Tensor) -> Tensor:
            return torch.stack([self.errors(entry, full, rows) for entry in range(len(self.timesteps))]).mean()

        return swap_gradient(self.target, full, loss)[1 : 1 + len(ids)]

    @torch.no_grad()
    def best(self, rows: Tensor) -> tuple[Tensor, float]:
        """The best of (B, K) token ids, and its loss. The worse half is given up after each entry, but for two."""
        sums = torch.zeros(len(rows), device=self.latents.device)
        for entry in range(len(self.timesteps)):
            sums = sums + self.errors(entry, framed(self.target, rows))
            kept = sums.argsort()[: max(2, (len(rows) + 1) // 2)]
            rows, sums = rows[kept], sums[kept]
        return rows[0], float(sums[0]) / len(self.timesteps)
