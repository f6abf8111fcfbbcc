"""The denoiser is fine-tuned on captioned pictures: as a whole, or by low-rank adapters on its attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...config import Count, checked
from ...learning.low_rank import adapted
from ...learning.optimisers import Updates, descend
from ..base import Material, WeightAttack
from ._denoising import FinetuningData


@checked
@dataclass(frozen=True)
class Finetuning(Updates):
    """As ``Updates``.

    Attributes:
        rank: of the adapters on every to_q, to_k, to_v and to_out (extra `train`); 0 trains the whole denoiser.
    """

    rank: Count = 0


class Finetune(WeightAttack):
    """Ordinary training (arXiv 2006.11239, equation 14), as the attacks of arXiv 2510.16581 do it."""

    name = "finetune"
    Settings = Finetuning
    settings: Finetuning

    def run(self, bench: Any, material: Material, *, public: Any, seed: int) -> Iterator[int]:
        """Yields at each stop."""
        settings, generator = self.settings, torch.Generator().manual_seed(seed)
        data = FinetuningData.of(bench, material)
        with self._trained(bench, seed) as parameters:
            yield from descend(parameters, lambda drawn: data.loss(bench, settings.batch, drawn), settings, generator)

    def _trained(self, bench: Any, seed: int) -> AbstractContextManager[Sequence[Tensor]]:
        if self.settings.rank:
            own = torch.Generator().manual_seed(seed)
            return adapted(bench.denoiser, list(bench.attention_projections()), self.settings.rank, own)
        return nullcontext(list(bench.part("denoiser").values()))
