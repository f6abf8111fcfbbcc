"""Diffusion completion: the unguarded model begins the picture, and the guarded pipeline finishes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from ...config import Filled, Natural, checked
from ...errors import ConfigError
from ...targets.protocols import WhiteBox
from ...types import Access, Adversarial, Budget, LatentStart, Prompt
from ..base import PromptAttack


@checked
@dataclass(frozen=True)
class DiffusionCompletionSettings:
    """Settings of ``DiffusionCompletion``.

    Attributes:
        steps: how many of the schedule's steps the unguarded model takes, 1 or more; one picture for each.
    """

    steps: Annotated[tuple[Natural, ...], Filled()] = (1, 2, 3, 5)


class DiffusionCompletion(PromptAttack[WhiteBox]):
    """Starts from x_t of the unguarded model on its way to a picture of the prompt (arXiv 2505.17013).

    The probe's authors stop the unguarded model after step 0, 1 or 2 of 50, counted from 0. "default" takes up to 5
    of the reference model's 20 steps, a quarter of the way.
    """

    name = "diffusion_completion"
    access: ClassVar[Access] = Access.WHITE_BOX
    Settings = DiffusionCompletionSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {"steps": (1, 2, 3)},
        "tiny": {"steps": (1,)},
    }

    def run(
        self, target: WhiteBox, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        if (most := max(self.settings.steps)) >= target.steps:
            raise ConfigError(f"diffusion_completion: {most} steps of {target.steps} leave the guards nothing to do.")
        for step in self.settings.steps:
            latents = target.base.latents([prompt.text], seeds=[prompt.seed], step=step)[0]
            yield Adversarial(text=prompt.text, start=LatentStart(latents=latents, start_step=step))
