"""The localised loss of TraSCE (arXiv 2412.07658), its derivative, and the step that x_t takes along it.

With d = ||eps_p - eps_c|| over the N latent entries of a picture, D^ = (eps_p - eps_c) / d and J its Jacobian:

    kernel "code"    L = -a exp(-d / sigma)             w(d) = a / sigma exp(-d / sigma)
    kernel "paper"   L = -a exp(-d^2 / (2 sigma^2))     w(d) = a d / sigma^2 exp(-d^2 / (2 sigma^2))
    grad L = w(d) J^T D^                                x_t <- x_t - b grad L

J^T D^ is a vector-Jacobian product of order one and w(d) is applied after it, in float32: w may be 1e-10, which
would vanish in a half-precision backward pass.

Whoever has gradients on (an attacker who differentiates through the guard) gets w, D^ and J^T D^ with theirs, which
is a second derivative of the denoiser.

Other sizes. The constants were published for N = 16384. For the same root mean square of eps_p - eps_c, d grows like
sqrt(N), so sigma does: w is taken at k d with k = sqrt(16384 / N). D^ has norm 1, so an entry of J^T D^ shrinks like
1 / sqrt(N); for the same movement of each entry the step is divided by k. At N = 16384 nothing changes.

Other latents. Where the denoiser reads c x_t, x_t is c^-1 times the variance-preserving latent for which b was
published, and the same step is b / c^2: with c^2 = 1 / (1 + sigma_t^2), that is b (1 + sigma_t^2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...types import Step
from ..base import across

REFERENCE_ENTRIES = 16384  # 4 x 64 x 64


@dataclass(frozen=True)
class LocalisedLoss:
    """Scale a, step size b, width sigma (all for 16384 latent entries) and the kernel."""

    a: float
    b: float
    sigma: float
    kernel: Literal["code", "paper"]

    def distance(self, step: Step, prompt: Tensor, concept: Tensor) -> Tensor:
        """k d, (B,) float32: the noise distance of two predictions, as if of 16384 entries."""
        difference = (prompt - concept).float().flatten(1)
        return difference.norm(dim=1) * step.noise_scale * _size_factor(step.latents)

    def strength(self, distance: Tensor) -> Tensor:
        """b w(k d), (B,) float32."""
        if self.kernel == "code":
            return self.b * self.a / self.sigma * torch.exp(-distance / self.sigma)
        return self.b * self.a * distance / self.sigma**2 * torch.exp(-(distance**2) / (2 * self.sigma**2))

    def shift(self, step: Step, latents: Tensor, prompt: Tensor, concept: Tensor) -> Tensor:
        """What to subtract from x_t, (B, …) float32, of predictions with a graph to ``latents``."""
        strength = self.strength(self.distance(step, prompt, concept))
        factor = strength / (_size_factor(latents) * step.input_scale**2)
        return across(factor, latents) * pull(latents, prompt, concept) * step.noise_scale


def pull(latents: Tensor, prompt: Tensor, concept: Tensor) -> Tensor:
    """J^T D^, (B, …) float32: where the distance of the predictions grows fastest. 0 where they are equal."""
    apart = (prompt - concept).float().flatten(1)
    scale = apart.shape[1] ** 0.5  # entries of order one through the backward pass
    cotangent = (normalize(apart, dim=1) * scale).view_as(prompt).to(prompt.dtype)
    twice = torch.is_grad_enabled()
    (gradient,) = torch.autograd.grad((prompt, concept), latents, (cotangent, -cotangent), create_graph=twice)
    return gradient.float() / scale


def _size_factor(latents: Tensor) -> float:
    """k = sqrt(16384 / N)."""
    return (REFERENCE_ENTRIES / latents[0].numel()) ** 0.5
