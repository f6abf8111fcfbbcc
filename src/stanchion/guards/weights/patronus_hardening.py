"""Patronus' hardening (arXiv 2510.16581): a denoiser that won't draw the concept, and is slow to be taught it again."""

from __future__ import annotations

from ..base import WeightGuard


class PatronusHardening(WeightGuard):
    """Patronus (arXiv 2510.16581), stages B1 and B2: weights of the denoiser, trained by the recipe of the same name.

    What a model owner releases in place of the stock weights; the aim is a model that resists fine-tuning.
    """

    name = "patronus_hardening"
    trained = True
