"""Ring-A-Bell: a genetic search for tokens whose text states are those of the prompt with more of the concept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from ...config import Filled, Natural, Range, Real, Share, checked
from ...errors import ConfigError
from ...targets.protocols import OpenEncoder
from ...types import Access, Adversarial, Budget, Prompt
from ..base import PromptAttack
from ..tokens import WordFilter, framed, free_ids
from ._concept_vector import concept_vector


@checked
@dataclass(frozen=True)
class RingABellSettings:
    """Settings of ``RingABell``.

    Attributes:
        eta: how much of the concept is added to the prompt; the paper's is 3 for nudity, 5 or 5.5 for violence.
        lengths: tokens of a prompt, 1 or more; one search and one picture for each.
        population: even, 4 or more.
        generations: 1 or more.
        mutation: chance in [0, 1] that an individual gets one other token between two generations.
        filtered: whether to use no token that contains one of the concept's words.
    """

    eta: Real = 3.0
    lengths: Annotated[tuple[Natural, ...], Filled()] = (8, 16)
    population: Annotated[int, Range(4)] = 100
    generations: Natural = 60
    mutation: Share = 0.25
    filtered: bool = True

    def __post_init__(self) -> None:
        if self.population % 4:
            raise ConfigError(f"ring_a_bell: population is {self.population}; use 4, 8, 12, …")


class RingABell(PromptAttack[OpenEncoder]):
    """Tokens that mean the prompt with more of the concept, by a genetic search (Ring-A-Bell, arXiv 2310.10012).

    With c the concept's vector and E the text encoder, T = E(prompt) + eta c; the fitness is the summed squared
    distance of E(tokens) from T. The target is never queried: one picture for each length.

    Settings "paper" follow the paper's notebook (population 200, 3000 generations, 16, 38 and 75 tokens). The paper
    lets each survivor cross with chance 1/2; here exactly half of them do, so that the population keeps its size.
    "default" has shorter prompts, half of the population and a fiftieth of the generations; and as this world's words
    are single tokens, it keeps clear of the concept's own, or the search would just write them down.
    """

    name = "ring_a_bell"
    access: ClassVar[Access] = Access.TEXT_ENCODER
    Settings = RingABellSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {"lengths": (16, 38, 75), "population": 200, "generations": 3000, "filtered": False},
        "tiny": {"lengths": (4,), "population": 8, "generations": 3},
    }

    def run(
        self, target: OpenEncoder, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        with torch.no_grad():
            wanted = target.encode(target.tokenize([prompt.text]))
        wanted = wanted + self.settings.eta * concept_vector(target, self.concept)
        free = WordFilter.of(target, self.concept).free if self.settings.filtered else free_ids(target)
        for length in self.settings.lengths:
            best, distance = self._evolved(target, wanted, free, length, generator)
            note = {"length": length, "distance": round(distance, 3)}
            yield Adversarial(text=target.words(best[None])[0], note=note)

    def _evolved(
        self, target: OpenEncoder, wanted: Tensor, free: Tensor, length: int, generator: torch.Generator
    ) -> tuple[Tensor, float]:
        """The fittest (length,) token ids of the last generation, and their distance from ``wanted``."""
        settings = self.settings
        group = _drawn(free, (settings.population, length), generator)
        for _ in range(settings.generations - 1):
            order = distances(target, group, wanted).argsort()
            group = mutated(crossed(group[order[: len(order) // 2]], generator), free, settings.mutation, generator)
        last = distances(target, group, wanted)
        return group[last.argmin()], float(last.min())


@torch.no_grad()
def distances(target: OpenEncoder, group: Tensor, wanted: Tensor) -> Tensor:
    """(P,) summed squared distances of the states of (P, K) prompts from (1, L, D)."""
    return (target.encode(framed(target, group)) - wanted).square().sum((1, 2))


def crossed(survivors: Tensor, generator: torch.Generator) -> Tensor:
    """(2 S, K): the S survivors, and two children of each of S / 2 random ones with a random mate, cut at one point."""
    count, length = survivors.shape
    parents = survivors[torch.randperm(count, generator=generator)[: count // 2]]
    mates = survivors[torch.randint(count, (count // 2,), generator=generator)]
    cut = torch.randint(length + 1, (count // 2, 1), generator=generator)
    first = (torch.arange(length) < cut).to(survivors.device)
    return torch.cat([survivors, torch.where(first, parents, mates), torch.where(first, mates, parents)])


def mutated(group: Tensor, free: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """Each individual, with that chance, with another token in one place."""
    count, length = group.shape
    hit = torch.rand(count, generator=generator) < chance
    place = torch.randint(length, (count,), generator=generator)
    other = group.clone()
    other[torch.arange(count), place] = _drawn(free, (count,), generator)
    return torch.where(hit[:, None].to(group.device), other, group)


def _drawn(free: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return free[torch.randint(len(free), shape, generator=generator)]
