"""Random words before the prompt: the control for optimised prefixes, which must do better than any words."""

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
class RandomPrefixSettings:
    """Settings of ``RandomPrefix``.

    Attributes:
        tries: how many prefixes, 1 or more.
        length: words of each, 1 or more; each is one token.
    """

    tries: Natural = 40
    length: Natural = 5


class RandomPrefix(PromptAttack[BlackBox]):
    """Prefixes of random words, with the prompt's own seed (a control of UnlearnDiffAtk's repository)."""

    name = "random_prefix"
    access: ClassVar[Access] = Access.BLACK_BOX
    Settings = RandomPrefixSettings
    presets: ClassVar[dict[str, dict[str, int]]] = {"default": {}, "paper": {}, "tiny": {"tries": 3}}
    together: ClassVar[int] = 8

    def run(
        self, target: BlackBox, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        words = target.vocabulary
        for places in torch.randint(len(words), (self.settings.tries, self.settings.length), generator=generator):
            yield Adversarial(text=" ".join([*(words[place] for place in places.tolist()), prompt.text]))
