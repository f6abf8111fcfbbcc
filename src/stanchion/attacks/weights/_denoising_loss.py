"""The loss that the denoiser was trained with; fine-tuning, and attacks that fine-tune, use it again."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Predicts(Protocol):
    """A model with its noise process."""

    def noisy(self, clean: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor: ...
    def predict(self, latents: Tensor, timesteps: Tensor, embeds: Tensor) -> Tensor: ...


def denoising_loss(bench: Predicts, clean: Tensor, timesteps: Tensor, embeds: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error (B,) of the noise that is seen in x_t of ``clean`` latents (arXiv 2006.11239, equation 14).

    ``timesteps`` is (B,) of the training schedule; ``embeds`` (B, L, D) are the captions' states; differentiable.
    """
    seen = bench.predict(bench.noisy(clean, timesteps, noise), timesteps, embeds)
    return (seen - noise).square().mean((1, 2, 3))
