"""Pictures with captions as the denoiser is trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..base import Material
from ._denoising_loss import denoising_loss

PART = 64  # pictures that are encoded together


@dataclass(frozen=True)
class FinetuningData:
    """Clean latents (N, C, H, W), and their captions' states (N, L, D)."""

    latents: Tensor
    embeds: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, bench: Any, material: Material) -> FinetuningData:
        """The material, encoded."""
        return cls(encoded(bench, material.pictures), bench.encode(material.captions))

    def loss(self, bench: Any, batch: int, generator: torch.Generator) -> Tensor:
        """The denoising loss of ``batch`` pictures at random times; differentiable."""
        rows = torch.randint(len(self.latents), (batch,), generator=generator)
        return captioned_loss(bench, self.latents[rows], self.embeds[rows], generator)


@torch.no_grad()
def encoded(bench: Any, pictures: Tensor) -> Tensor:
    """Clean latents (N, C, H, W) of pictures (N, 3, H, W)."""
    return torch.cat([bench.encode_pictures(part.to(bench.device)) for part in pictures.split(PART)])


def captioned_loss(bench: Any, clean: Tensor, embeds: Tensor, generator: torch.Generator) -> Tensor:
    """The denoising loss of clean latents (B, C, H, W) under captions' states (B, L, D); differentiable."""
    times = torch.randint(len(bench.alpha_bar), (len(clean),), generator=generator).to(clean.device)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return denoising_loss(bench, clean, times, embeds, noise).mean()
