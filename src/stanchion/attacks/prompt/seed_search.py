"""The same prompt with other seeds: the control for luck, which every attack's success must be compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...config import Natural, checked
from ...targets.protocols import BlackBox
from ...types import Access, Adversarial, Budget, Prompt
from ..base import PromptAttack


@checked
@dataclass(frozen=True)
class SeedSearchSettings:
    """Settings of ``SeedSearch``.

    Attributes:
        seeds: how many are tried, 1 or more.
    """

    seeds: Natural = 40


class SeedSearch(PromptAttack[BlackBox]):
    """Random seeds, one after the other (a control of UnlearnDiffAtk's repository, arXiv 2310.11868)."""

    name = "seed_search"
    access: ClassVar[Access] = Access.BLACK_BOX
    Settings = SeedSearchSettings
    presets: ClassVar[dict[str, dict[str, int]]] = {"default": {}, "paper": {}, "tiny": {"seeds": 3}}
    together: ClassVar[int] = 8

    def run(
        self, target: BlackBox, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        for seed in torch.randint(2**31 - 1, (self.settings.seeds,), generator=generator).tolist():
            yield Adversarial(text=prompt.text, seed=seed)
