"""UCE (arXiv 2308.14761): keys and values of cross-attention, solved so that the concept reads as something else."""

from __future__ import annotations

from ..base import WeightGuard


class UCE(WeightGuard):
    """Unified concept editing (arXiv 2308.14761): edited ``to_k`` and ``to_v``, from the recipe of the same name."""

    name = "uce"
    trained = True
