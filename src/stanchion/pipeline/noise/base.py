"""What guards, training and attacks ask of a noise process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import UnsupportedPipeline


@dataclass(frozen=True)
class Level:
    """One noise level as ``Step`` gives it to guards.

    Attributes:
        alpha_bar: signal share of the variance-preserving latent c * x_t, in [0, 1].
        input_scale: c, which makes x_t variance-preserving.
        noise_scale: turns a difference of two predictions into a difference of noise.
    """

    alpha_bar: float
    input_scale: float
    noise_scale: float


class NoiseProcess(ABC):
    """x_t = signal(t) x_0 + spread(t) noise, and what a prediction at x_t says about either.

    ``time`` is a timestep as the scheduler counts them, 0 (clean) to ``train_timesteps``, () or (B,).

    Attributes:
        known_as: what it is by name.
        example: a scheduler of diffusers that reverses it.
        settings: of its schedulers those that have one meaning only here, each with that value, which is the usual one.
        otherwise: what another value leads to.

    Raises:
        UnsupportedPipeline: the scheduler has another value.
    """

    known_as: ClassVar[str]
    example: ClassVar[str]
    settings: ClassVar[Mapping[str, object]]
    otherwise: ClassVar[str]

    def __init__(self, scheduler: Any) -> None:
        for setting, usual in self.settings.items():
            if (given := scheduler.config.get(setting, usual)) != usual:
                name = type(scheduler).__name__
                raise UnsupportedPipeline(
                    f"{name}: {setting} is {given!r}, so that {self.otherwise}; set it to {usual!r}."
                )
        self.scheduler = scheduler
        self.train_timesteps = int(scheduler.config.num_train_timesteps)

    @abstractmethod
    def signal(self, time: Tensor) -> Tensor:
        """What multiplies x_0, of the shape of ``time``."""

    @abstractmethod
    def spread(self, time: Tensor) -> Tensor:
        """What multiplies the noise, of the shape of ``time``."""

    @abstractmethod
    def as_noise(self, prediction: Tensor, latents: Tensor, time: Tensor) -> Tensor:
        """The noise that a prediction in the model's own parametrisation stands for."""

    @abstractmethod
    def target(self, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """What the model is trained to predict at ``noisy(clean, time, noise)``."""

    @abstractmethod
    def predicted(self, level: Level, latents: Tensor, prediction: Tensor) -> Tensor:
        """x_0 that a prediction in the model's own parametrisation sees in x_t as the pipeline holds it; float32."""

    @abstractmethod
    def level(self, timestep: Any) -> Level:
        """The level at one timestep of the scheduler's schedule, for latents as the pipeline holds them."""

    def noisy(self, clean: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """x_t of clean latents."""
        return like(self.signal(time), clean) * clean + like(self.spread(time), clean) * noise

    def clean(self, latents: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """x_0 that x_t would have, were that its noise."""
        return (latents - like(self.spread(time), latents) * noise) / like(self.signal(time), latents)

    def alpha_bar(self, time: Tensor) -> Tensor:
        """The signal share s^2 / (s^2 + n^2), of the shape of ``time``."""
        signal, spread = self.signal(time).square(), self.spread(time).square()
        return signal / (signal + spread)


def like(value: Tensor, tensor: Tensor) -> Tensor:
    """A number or one a row, such that it multiplies ``tensor``."""
    value = torch.as_tensor(value).to(tensor)
    return value.reshape(-1, *[1] * (tensor.ndim - 1)) if value.ndim else value
