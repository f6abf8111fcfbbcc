"""A pipeline of any family as training draws with it: its texts, its denoiser's weights, and runs of its own."""

from __future__ import annotations

from typing import Any

import torch

from .text_bench import TextBench


class DrawingBench(TextBench):
    """An unguarded pipeline whose pictures, and whose latents on the way to them, a guard learns from.

    Raises:
        UnsupportedPipeline: no seam knows the pipeline.
        AlreadyAttached: it is guarded.
    """

    @property
    def denoiser(self) -> Any:
        """The U-Net, or the transformer."""
        return getattr(self.pipe, self.family.denoisers[0])

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        device: torch.device = self.denoiser.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """What the denoiser computes in."""
        dtype: torch.dtype = self.denoiser.dtype
        return dtype

    @property
    def identity(self) -> str:
        """Names the weights of text encoders, denoiser and autoencoder."""
        return "-".join([super().identity, *(self.base_of(name)[:12] for name in (self.family.denoisers[0], "vae"))])
