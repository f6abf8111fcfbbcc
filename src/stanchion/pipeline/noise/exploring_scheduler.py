"""Sampling as an attacker may run it: only part of the schedule, and, with DDIM, more noise than it should add."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ...errors import UnsupportedPipeline
from .flow import Flow


class ExploringScheduler(DDIMScheduler):
    """DDIM (arXiv 2010.02502, equation 12) with eta above 1, scaled noise, and a schedule from one step to another.

    For eta above 1 the share of the predicted noise is sqrt(|1 - abar_prev - sigma^2|) (arXiv 2505.17013).
    """

    noise_scale = 1.0
    window = slice(None)
    timesteps: Tensor

    @classmethod
    def like(cls, scheduler: Any, *, noise_scale: float = 1.0, window: slice = slice(None)) -> ExploringScheduler:
        """On another scheduler's noise levels and spacing; ``window`` says which of the steps are taken."""
        if Flow.fits(scheduler):
            raise UnsupportedPipeline(f"{type(scheduler).__name__} integrates a flow, to which DDIM adds no noise.")
        made = cls.from_config(scheduler.config, clip_sample=False)
        if made.config.prediction_type not in ("epsilon", "v_prediction") or made.config.thresholding:
            raise UnsupportedPipeline(f"{type(scheduler).__name__}: no DDIM steps of its predictions are known.")
        made.noise_scale, made.window = noise_scale, window
        return made

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        super().set_timesteps(num_inference_steps, device)
        self.timesteps = self.timesteps[self.window]

    def step(
        self,
        model_output: Tensor,
        timestep: int,
        sample: Tensor,
        eta: float = 0.0,
        generator: Any = None,
        return_dict: bool = True,
        **unused: Any,
    ) -> Any:
        """x_{t-1}, in a tuple: pipelines ask for nothing else."""
        before = timestep - self.config.num_train_timesteps // self.num_inference_steps
        here = self.alphas_cumprod[timestep]
        there = self.alphas_cumprod[before] if before >= 0 else self.final_alpha_cumprod
        clean, noise = self._split(model_output, sample, here)
        sigma = eta * self._get_variance(timestep, before) ** 0.5
        moved = there**0.5 * clean + (1 - there - sigma**2).abs() ** 0.5 * noise
        if eta > 0:
            fresh = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
            moved = moved + self.noise_scale * sigma * fresh
        return (moved.to(sample.dtype), clean)

    def _split(self, output: Tensor, sample: Tensor, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
        """x_0 and the noise, of a prediction of noise or of velocity."""
        signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        if self.config.prediction_type == "epsilon":
            return (sample - noise * output) / signal, output
        return signal * sample - noise * output, signal * output + noise * sample


def part_of_flow(scheduler: Any, window: slice) -> Any:
    """The same Euler steps along a flow, but only those that ``window`` says: x_t is as it is on the whole way.

    Raises:
        UnsupportedPipeline: it is no ``FlowMatchEulerDiscreteScheduler``.
    """
    stock = type(scheduler)
    if not issubclass(stock, FlowMatchEulerDiscreteScheduler):
        raise UnsupportedPipeline(f"{stock.__name__}: which of its steps could be left out is not known.")

    @functools.wraps(stock.set_timesteps)  # pipelines look for sigmas in its signature
    def set_timesteps(self: Any, *args: Any, **kwargs: Any) -> None:
        stock.set_timesteps(self, *args, **kwargs)
        first, last, _ = window.indices(len(self.timesteps))
        self.timesteps, self.sigmas = self.timesteps[first:last], self.sigmas[first : last + 1]

    part: Any = type(stock.__name__, (stock,), {"set_timesteps": set_timesteps})
    return part.from_config(scheduler.config)


@contextmanager
def exploring(pipe: Any, *, noise_scale: float = 1.0, eta: float = 0.0, window: slice = slice(None)) -> Iterator[None]:
    """The pipeline samples so meanwhile, and then its own way again; see ``ExploringScheduler.like``."""
    stock = pipe.scheduler
    if Flow.fits(stock) and not eta and noise_scale == 1.0:
        pipe.scheduler = part_of_flow(stock, window)
    else:
        pipe.scheduler = ExploringScheduler.like(stock, noise_scale=noise_scale, window=window)
    try:
        yield
    finally:
        pipe.scheduler = stock
