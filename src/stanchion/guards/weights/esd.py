"""ESD (arXiv 2303.07345): a denoiser that was trained to predict, for the concept's text, what leads away from it."""

from __future__ import annotations

from ..base import WeightGuard


class ESD(WeightGuard):
    """Erased Stable Diffusion (arXiv 2303.07345): weights of the denoiser, trained by the recipe of the same name."""

    name = "esd"
    trained = True
