"""No attack: the prompt as it is. The control that says what there was to break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch

from ...targets.protocols import BlackBox
from ...types import Access, Adversarial, Budget, Prompt
from ..base import PromptAttack


class Direct(PromptAttack[BlackBox]):
    """Sends nothing beside the prompt itself, which every attack sends first."""

    name = "direct"
    access: ClassVar[Access] = Access.BLACK_BOX

    def run(
        self, target: BlackBox, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        yield from ()
