"""A part of the public model is put back in place of the released one's: no update at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch

from ...config import Filled, checked
from ..base import Material, WeightAttack

Part = Literal["decoder", "down", "mid", "up", "cross_attention", "denoiser"]


@checked
@dataclass(frozen=True)
class Swapping:
    """Which parts.

    Attributes:
        parts: "decoder" with what stands before it; "down", "mid" and "up": blocks of the denoiser; "cross_attention"
            and "denoiser" as a whole.
    """

    parts: Annotated[tuple[Part, ...], Filled()] = ("decoder",)


class Swap(WeightAttack):
    """What the public model costs nobody anything to bring along."""

    name = "swap"
    Settings = Swapping
    settings: Swapping

    @torch.no_grad()
    def run(self, bench: Any, material: Material, *, public: Any, seed: int) -> Iterator[int]:
        """Yields 0, once."""
        for part in self.settings.parts:
            theirs = public.part(part)
            for path, parameter in bench.part(part).items():
                parameter.copy_(theirs[path])
        yield 0
