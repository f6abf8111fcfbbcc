"""The noise-based probe: the prompt as it is, sampled with more noise than it should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from ...config import Filled, Positive, checked
from ...targets.protocols import BlackBox
from ...types import Access, Adversarial, Budget, LatentStart, Prompt
from ..base import PromptAttack


@checked
@dataclass(frozen=True)
class NoiseProbeSettings:
    """Settings of ``NoiseProbe``; one picture for each eta with each scale.

    Attributes:
        etas: of DDIM: the share of fresh noise in a step; 1 is DDPM's, and more is allowed. Above 0.
        scales: the fresh noise is multiplied by these. Above 0.
    """

    etas: Annotated[tuple[Positive, ...], Filled()] = (1.0, 1.17, 1.34, 1.51, 1.68, 1.85)
    scales: Annotated[tuple[Positive, ...], Filled()] = (1.0, 1.02, 1.03, 1.04)


class NoiseProbe(PromptAttack[BlackBox]):
    """Fresh noise in each step takes the picture off the guarded trajectory (arXiv 2505.17013, noise-based probe).

    For eta above 1 the direction's share is sqrt(|1 - abar_prev - sigma^2|), as the probe's authors have it. They try
    24 pictures a prompt and keep the best; a best of 24 needs the best of 24 seeds beside it (``seed_search``).
    """

    name = "noise_probe"
    access: ClassVar[Access] = Access.BLACK_BOX
    Settings = NoiseProbeSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {},
        "tiny": {"etas": (1.0, 1.85), "scales": (1.04,)},
    }

    def run(
        self, target: BlackBox, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        for scale in self.settings.scales:
            for eta in self.settings.etas:
                yield Adversarial(text=prompt.text, start=LatentStart(eta=eta, noise_scale=scale))
