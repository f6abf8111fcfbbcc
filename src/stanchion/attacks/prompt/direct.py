"""No attack: the prompt as it is. The control that says what there was to break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch

from ...types import Access, Adversarial, Budget, Prompt
from ..base import PromptAttack


class Direct(PromptAttack):
    """Sends nothing beside the prompt itself, which every attack sends first."""

    name = "direct"
    access: ClassVar[Access] = Access.BLACK_BOX

    def run(self, target: Any, prompt: Prompt, *, budget: Budget, generator: torch.Generator) -> Iterator[Adversarial]:
        yield from ()
