"""Variance-preserving diffusion (arXiv 2006.11239): x_t = sqrt(abar) x_0 + sqrt(1 - abar) noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import UnsupportedPipeline
from .base import Level, NoiseProcess, like

PREDICTIONS = ("epsilon", "v_prediction")


class VariancePreserving(NoiseProcess):
    """Of schedulers with ``alphas_cumprod``; the model predicts noise or velocity (arXiv 2202.00512, appendix D)."""

    known_as = "a diffusion noise schedule (alphas_cumprod)"
    example = "DDIMScheduler"
    settings: ClassVar[Mapping[str, object]] = {"timestep_type": "discrete", "interpolation_type": "linear"}
    otherwise = "its timesteps, which are no places in the table, do not say how noisy x_t is"

    def __init__(self, scheduler: Any) -> None:
        name, self.prediction = type(scheduler).__name__, scheduler.config.get("prediction_type", "epsilon")
        if getattr(scheduler, "alphas_cumprod", None) is None:
            raise UnsupportedPipeline(
                f"{name} has no diffusion noise schedule (alphas_cumprod) and no flow; use e.g. DDIMScheduler."
            )
        if self.prediction not in PREDICTIONS:
            raise UnsupportedPipeline(
                f"{name}: prediction_type is {self.prediction!r}; guards know {', '.join(PREDICTIONS)}."
            )
        super().__init__(scheduler)
        self.table: Tensor = scheduler.alphas_cumprod

    def signal(self, time: Tensor) -> Tensor:
        return self.alpha_bar(time).sqrt()

    def spread(self, time: Tensor) -> Tensor:
        return (1 - self.alpha_bar(time)).sqrt()

    def alpha_bar(self, time: Tensor) -> Tensor:
        return self.table.to(time.device)[time]

    def as_noise(self, prediction: Tensor, latents: Tensor, time: Tensor) -> Tensor:
        if self.prediction == "epsilon":
            return prediction
        return like(self.signal(time), latents) * prediction + like(self.spread(time), latents) * latents

    def target(self, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        if self.prediction == "epsilon":
            return noise
        return like(self.signal(time), clean) * noise - like(self.spread(time), clean) * clean

    def predicted(self, level: Level, latents: Tensor, prediction: Tensor) -> Tensor:
        signal, spread = level.alpha_bar**0.5, (1 - level.alpha_bar) ** 0.5
        latents, prediction = level.input_scale * latents.float(), prediction.float()
        if self.prediction == "epsilon":
            return (latents - spread * prediction) / signal
        return signal * latents - spread * prediction

    def level(self, timestep: Any) -> Level:
        share = self._between(float(timestep))
        scale = 1.0
        if hasattr(self.scheduler, "scale_model_input"):
            scale = float(self.scheduler.scale_model_input(torch.ones((), dtype=torch.float32), timestep))
        return Level(share, scale, 1.0 if self.prediction == "epsilon" else share**0.5)

    def _between(self, timestep: float) -> float:
        """abar at a timestep; between two trained ones, log sigma is interpolated."""
        low = min(int(timestep), len(self.table) - 1)
        high = min(low + 1, len(self.table) - 1)
        part = timestep - low
        if part <= 0.0 or high == low:
            return float(self.table[low])
        log_odds = torch.logit(self.table[[low, high]].double())
        return float(torch.sigmoid(torch.lerp(log_odds[0], log_odds[1], part)))
