"""The loss that the denoiser was trained with; fine-tuning, and attacks that fine-tune, use it again."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Predicts(Protocol):
    """A model with its noise process."""

    def noisy(self, clean: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor: ...
    def predict(self, latents: Tensor, timesteps: Tensor, embeds: Tensor) -> Tensor: ...
    def wanted(self, clean: Tensor, noise: Tensor) -> Tensor: ...


def denoising_loss(bench: Predicts, clean: Tensor, timesteps: Tensor, embeds: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error (B,) of what is seen in x_t of ``clean`` latents: noise (arXiv 2006.11239, equation 14), or in
    a flow velocity (arXiv 2209.03003, equation 1).

    ``timesteps`` is (B,) of the training schedule; ``embeds`` (B, L, D) are the captions' states; differentiable.
    """
    seen = bench.predict(bench.noisy(clean, timesteps, noise), timesteps, embeds)
    return (seen - bench.wanted(clean, noise)).square().mean(tuple(range(1, clean.ndim)))
