"""Denoising with noise of its own: each step a Gaussian whose mean the prediction decides, so an action of a policy.

From the predicted clean latents x0 and noise e, with signal s_t and spread n_t, the step from t to u is

    x_u = s_u x0 + sqrt(n_u^2 - sigma^2) e + sigma noise

which has the deterministic step's marginals, whatever sigma is.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from .base import like


@dataclass(frozen=True)
class StochasticSteps(ABC):
    """A schedule of S denoising steps, by their place, 0 the noisiest; the first of them are stochastic.

    Only stochastic steps are actions. Where the first few alone are, what a picture earns was decided there, and not
    by the noise of steps that only finish it.

    Attributes:
        ends: (S + 1,) the noise level before each step, and after the last, as the process counts it; float64.
        eta: weight of the noise in stochastic steps, above 0.
        actions: how many steps are stochastic; S - 1 at most, for the last ends without noise.
    """

    ends: Tensor
    eta: float
    actions: int

    @classmethod
    def within(cls, ends: Tensor, eta: float, share: float) -> Self:
        """``share`` of the steps are stochastic, one at least."""
        steps = len(ends) - 1
        return cls(ends, eta, min(steps - 1, max(1, round(share * steps))))

    @property
    def steps(self) -> int:
        """S."""
        return len(self.ends) - 1

    def after(self, first: int) -> Self:
        """The steps from ``first`` on, of which as many are stochastic as they can: a run from a noised picture."""
        return type(self)(self.ends[first:], self.eta, min(self.actions, self.steps - first - 1))

    def deviation(self, places: Tensor) -> Tensor:
        """sigma of steps (B,), in float64; 0 where there is no noise."""
        return self._deviation(self.ends[places], self.ends[places + 1]) * (places < self.actions)

    def mean(self, latents: Tensor, prediction: Tensor, places: Tensor) -> Tensor:
        """Where each row's step would lead without its noise, from x_t and the guided prediction, both (B, …)."""
        own, of_prediction = self._weights(self.ends[places], self.ends[places + 1], self.deviation(places))
        return like(own, latents) * latents + like(of_prediction, latents) * prediction

    def log_prob(self, sample: Tensor, mean: Tensor, places: Tensor) -> Tensor:
        """(B,) log-density of what was drawn, averaged over elements: the mean, so that ratios stay near 1."""
        sigma = self.deviation(places)
        squares = ((sample - mean) ** 2).flatten(1).mean(1)
        constant = sigma.log() + 0.5 * math.log(2 * math.pi)
        return -squares * like(0.5 / sigma**2, squares) - constant.to(squares)

    @abstractmethod
    def _deviation(self, now: Tensor, after: Tensor) -> Tensor:
        """sigma of stochastic steps between two levels."""

    @abstractmethod
    def _weights(self, now: Tensor, after: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """What multiplies x_t and the prediction in the mean."""


class StochasticDDIM(StochasticSteps):
    """DDIM with noise (arXiv 2010.02502, Eq. 16) from predicted noise; levels are a = alpha_bar, eta at most 1.

    sigma_t = eta sqrt((1 - a_s) / (1 - a_t)) sqrt(1 - a_t / a_s)               a_t: now, a_s: after the step
    """

    @classmethod
    def over(cls, alpha_bar: Tensor, timesteps: Tensor, eta: float = 1.0, share: float = 1.0) -> Self:
        """The steps between a model's ``timesteps`` (S,), where ``alpha_bar`` (T,) is its schedule."""
        last = torch.ones_like(alpha_bar[:1], dtype=torch.double)
        return cls.within(torch.cat([alpha_bar[timesteps].double(), last]), eta, share)

    def _deviation(self, now: Tensor, after: Tensor) -> Tensor:
        return self.eta * ((1 - after) / (1 - now) * (1 - now / after)).sqrt()

    def _weights(self, now: Tensor, after: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        of_noise = (1 - after - sigma**2).clamp_min(0).sqrt() - (after * (1 - now) / now).sqrt()
        return (after / now).sqrt(), of_noise


class StochasticFlow(StochasticSteps):
    """The stochastic twin of a flow's ODE (flow-GRPO, arXiv 2505.05470) from velocities v; levels are t, 1 for noise.

        dx = [v + sigma_t^2 / (2 t) (x + (1 - t) v)] dt + sigma_t dw,   sigma_t = eta sqrt(t / (1 - t))

    x + (1 - t) v is the noise e. Its Euler step from t to u weighs e by u - sigma^2 / (2 t), where sigma = sigma_t
    sqrt(t - u); that is to first order the root above, which is taken here, for over few steps the difference is noise
    that stays in the picture. At t = 1, where sigma_t has no bound, 1 - t is taken after the step, and sigma is
    nowhere above what noise is left.
    """

    @classmethod
    def over(cls, times: Tensor, eta: float = 1.0, share: float = 1.0) -> Self:
        """The steps between ``times`` (S,), falling, and 0."""
        return cls.within(torch.cat([times.double(), torch.zeros_like(times[:1], dtype=torch.double)]), eta, share)

    def _deviation(self, now: Tensor, after: Tensor) -> Tensor:
        rest = 1 - torch.where(now < 1, now, after)
        return (self.eta * (now / rest * (now - after)).sqrt()).minimum(after)

    def _weights(self, now: Tensor, after: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        of_noise = (after**2 - sigma**2).clamp_min(0).sqrt()
        return 1 - after + of_noise, (1 - now) * of_noise - (1 - after) * now
