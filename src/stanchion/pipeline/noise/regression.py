"""What a denoiser is regressed on, and the deterministic run that its predictions make: for training and its data.

A diffusion model is regressed on the noise, whatever it predicts; a flow model on its velocity, which is what it
predicts: at t = 1 its noise is known, and says nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from ...errors import UnsupportedPipeline
from .base import like
from .flow import Flow
from .stochastic import StochasticDDIM, StochasticFlow, StochasticSteps
from .vp import VariancePreserving


class Regression(ABC):
    """Predictions (B, …) at x_t. Times are of the training schedule, () or (B,).

    Attributes:
        alpha_bar: (T,) the share of signal in x_t at each whole training timestep, also in a flow.
    """

    alpha_bar: Tensor

    @abstractmethod
    def learnt(self, output: Tensor, latents: Tensor, times: Tensor) -> Tensor:
        """What the denoiser's output stands for."""

    @abstractmethod
    def wanted(self, clean: Tensor, noise: Tensor) -> Tensor:
        """What it is regressed on."""

    @abstractmethod
    def leading_to(self, clean: Tensor, latents: Tensor, times: Tensor) -> Tensor:
        """The prediction by which x_t would be ``clean`` under noise."""

    @abstractmethod
    def noisy(self, clean: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """x_t of clean latents."""

    @abstractmethod
    def times(self, steps: int) -> Tensor:
        """(steps,) of a picture, noisiest first."""

    @abstractmethod
    def moved(self, latents: Tensor, predicted: Tensor, here: Tensor, there: Tensor | None) -> Tensor:
        """x at the time ``there`` (None: the finished latents) from x at ``here``."""

    @abstractmethod
    def stochastic(self, times: Tensor, eta: float, share: float) -> StochasticSteps:
        """The steps between ``times`` (S,), as many with noise as ``share`` says, for what ``learnt`` predicts."""


class NoiseRegression(Regression):
    """Diffusion, by DDIM's steps (arXiv 2010.02502)."""

    def __init__(self, scheduler: Any, device: torch.device) -> None:
        self._ddim, self._device = DDIMScheduler.from_config(scheduler.config), device
        self._diffusion = VariancePreserving(self._ddim)
        self.alpha_bar = self._ddim.alphas_cumprod.to(device)

    def learnt(self, output: Tensor, latents: Tensor, times: Tensor) -> Tensor:
        return self._diffusion.as_noise(output, latents, times)

    def wanted(self, clean: Tensor, noise: Tensor) -> Tensor:
        return noise

    def leading_to(self, clean: Tensor, latents: Tensor, times: Tensor) -> Tensor:
        rest = latents - like(self._diffusion.signal(times), latents) * clean
        return rest / like(self._diffusion.spread(times), latents)

    def noisy(self, clean: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        return self._diffusion.noisy(clean, times, noise)

    def times(self, steps: int) -> Tensor:
        self._ddim.set_timesteps(steps)
        return self._ddim.timesteps.to(self._device)

    def moved(self, latents: Tensor, predicted: Tensor, here: Tensor, there: Tensor | None) -> Tensor:
        clean = self._diffusion.clean(latents, here, predicted)
        return clean if there is None else self._diffusion.noisy(clean, there, predicted)

    def stochastic(self, times: Tensor, eta: float, share: float) -> StochasticSteps:
        return StochasticDDIM.over(self.alpha_bar, times, eta, share)


class VelocityRegression(Regression):
    """Rectified flow (arXiv 2209.03003), by Euler's steps on FLUX's schedule without a shift for the picture's size."""

    def __init__(self, scheduler: Any, device: torch.device) -> None:
        self._flow, self._scheduler, self._device = Flow(scheduler), scheduler, device
        if scheduler.config.get("use_dynamic_shifting"):
            raise UnsupportedPipeline("the schedule is shifted by the picture's size, which training does not follow.")
        self.alpha_bar = self._flow.alpha_bar(torch.arange(self._flow.train_timesteps)).to(device)

    def learnt(self, output: Tensor, latents: Tensor, times: Tensor) -> Tensor:
        return output

    def wanted(self, clean: Tensor, noise: Tensor) -> Tensor:
        return noise - clean

    def leading_to(self, clean: Tensor, latents: Tensor, times: Tensor) -> Tensor:
        return (latents - clean) / like(self._flow.spread(times), latents).clamp_min(1e-3)

    def noisy(self, clean: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        return self._flow.noisy(clean, times, noise)

    def times(self, steps: int) -> Tensor:
        own = type(self._scheduler).from_config(self._scheduler.config)
        own.set_timesteps(sigmas=torch.linspace(1, 1 / steps, steps).tolist())
        return own.timesteps.to(self._device, torch.float32)

    def moved(self, latents: Tensor, predicted: Tensor, here: Tensor, there: Tensor | None) -> Tensor:
        after = torch.zeros_like(here) if there is None else there
        return latents + like(self._flow.spread(after) - self._flow.spread(here), latents) * predicted

    def stochastic(self, times: Tensor, eta: float, share: float) -> StochasticSteps:
        return StochasticFlow.over(self._flow.spread(times), eta, share)


def regression_of(scheduler: Any, device: torch.device) -> Regression:
    """How the model of a scheduler is trained.

    Raises:
        UnsupportedPipeline: it predicts neither noise nor velocity, or by a schedule that training does not follow.
    """
    return (VelocityRegression if Flow.fits(scheduler) else NoiseRegression)(scheduler, device)
