"""The decoder is fine-tuned on pictures, or taught by the public decoder what it shall draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ...config import checked
from ...learning.optimisers import Updates, descend
from ..base import Material, WeightAttack
from ._denoising import encoded


@checked
@dataclass(frozen=True)
class DecoderFinetuning(Updates):
    """As ``Updates``.

    Attributes:
        teacher: "pictures": the encoded pictures themselves; "public": what the public decoder makes of their latents.
    """

    teacher: Literal["pictures", "public"] = "pictures"


class DecoderFinetune(WeightAttack):
    """Mean squared error of the decoded picture, as in both attacks that arXiv 2510.16581 simulates."""

    name = "decoder_finetune"
    Settings = DecoderFinetuning
    settings: DecoderFinetuning

    def run(self, bench: Any, material: Material, *, public: Any, seed: int) -> Iterator[int]:
        """Yields at each stop."""
        settings, generator = self.settings, torch.Generator().manual_seed(seed)
        latents = encoded(bench, material.pictures)
        wanted = material.pictures.to(latents)
        if settings.teacher == "public":
            with torch.no_grad():
                wanted = torch.cat([public.decode(part) for part in latents.split(settings.batch)])

        def loss(drawn: torch.Generator) -> Tensor:
            rows = torch.randint(len(latents), (settings.batch,), generator=drawn)
            return (bench.decode(latents[rows]) - wanted[rows]).square().mean()

        yield from descend(list(bench.part("decoder").values()), loss, settings, generator)
