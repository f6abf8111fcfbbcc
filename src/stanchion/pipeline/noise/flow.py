"""Rectified flow (arXiv 2209.03003): x_t = (1 - t) x_0 + t noise, and the model predicts v = noise - x_0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from .base import Level, NoiseProcess, like


class Flow(NoiseProcess):
    """Of flow-matching schedulers. From noise = x_t + (1 - t) v follows all the rest.

    c = 1 / sqrt((1 - t)^2 + t^2) makes x_t variance-preserving, so guards that know abar need not know flow. At t = 1,
    the first step of every flow schedule, x_t holds no signal, and a difference of predictions is none of noise.
    """

    known_as = "a flow"
    example = "FlowMatchEulerDiscreteScheduler"
    settings: ClassVar[Mapping[str, object]] = {"prediction_type": "flow_prediction", "invert_sigmas": False}
    otherwise = "neither its timesteps nor its predictions are those of a flow as guards know it"

    @staticmethod
    def fits(scheduler: Any) -> bool:
        """Whether the scheduler integrates a flow."""
        config = scheduler.config
        return "FlowMatch" in type(scheduler).__name__ or bool(config.get("use_flow_sigmas"))

    def signal(self, time: Tensor) -> Tensor:
        return 1 - self._share(time)

    def spread(self, time: Tensor) -> Tensor:
        return self._share(time)

    def as_noise(self, prediction: Tensor, latents: Tensor, time: Tensor) -> Tensor:
        return latents + like(self.signal(time), latents) * prediction

    def target(self, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        return noise - clean

    def predicted(self, level: Level, latents: Tensor, prediction: Tensor) -> Tensor:
        return latents.float() - (1 - level.alpha_bar) ** 0.5 / level.input_scale * prediction.float()

    def level(self, timestep: Any) -> Level:
        t = float(timestep) / self.train_timesteps
        length = (1 - t) ** 2 + t**2
        return Level((1 - t) ** 2 / length, length**-0.5, 1 - t)

    def _share(self, time: Tensor) -> Tensor:
        return torch.as_tensor(time).float() / self.train_timesteps
