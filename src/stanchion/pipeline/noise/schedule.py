"""Where a denoising step stands in its schedule, and which noise level that is."""

from __future__ import annotations

from typing import Any

import torch

from ...errors import UnsupportedPipeline

PREDICTIONS = ("epsilon", "v_prediction")


def check_scheduler(scheduler: Any) -> None:
    """Refuse schedulers whose noise levels or predictions a guard could not read.

    Raises:
        UnsupportedPipeline: flow matching, EDM, or a prediction other than noise and velocity.
    """
    name = type(scheduler).__name__
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if getattr(scheduler, "alphas_cumprod", None) is None or scheduler.config.get("use_flow_sigmas"):
        raise UnsupportedPipeline(f"{name} has no diffusion noise schedule (alphas_cumprod); use e.g. DDIMScheduler.")
    if prediction not in PREDICTIONS:
        raise UnsupportedPipeline(f"{name}: prediction_type is {prediction!r}; guards know {', '.join(PREDICTIONS)}.")


class Schedule:
    """The distinct timesteps of one call, and how often each was visited.

    Heun and PNDM visit a timestep again; KDPM2 visits one in between, which counts as a step of its own.
    """

    def __init__(self) -> None:
        self.places: dict[float, int] = {}
        self.visits: dict[float, int] = {}

    def visit(self, scheduler: Any, timestep: float) -> tuple[int, int, int]:
        """(index, substep, total) of the next denoiser pass."""
        if timestep not in self.places:
            distinct = dict.fromkeys(scheduler.timesteps.tolist())
            self.places = {value: place for place, value in enumerate(distinct)}
        if timestep not in self.places:
            raise UnsupportedPipeline(f"timestep {timestep} is not in the schedule of {type(scheduler).__name__}.")
        substep = self.visits.get(timestep, 0)
        self.visits[timestep] = substep + 1
        return self.places[timestep], substep, len(self.places)


def alpha_bar(scheduler: Any, timestep: float) -> float:
    """Signal share at a timestep, in [0, 1]; between two trained ones, log sigma is interpolated."""
    table = scheduler.alphas_cumprod
    low = min(int(timestep), len(table) - 1)
    high = min(low + 1, len(table) - 1)
    share = timestep - low
    if share <= 0.0 or high == low:
        return float(table[low])
    log_odds = torch.logit(table[[low, high]].double())
    return float(torch.sigmoid(torch.lerp(log_odds[0], log_odds[1], share)))


def input_scale(scheduler: Any, timestep: Any) -> float:
    """c, where the denoiser reads c * latents."""
    if not hasattr(scheduler, "scale_model_input"):
        return 1.0
    return float(scheduler.scale_model_input(torch.ones((), dtype=torch.float32), timestep))


def noise_scale(scheduler: Any, share: float) -> float:
    """What turns a difference of predictions into one of noise: e = sqrt(alpha_bar) v + sqrt(1 - alpha_bar) x."""
    return share**0.5 if scheduler.config.get("prediction_type") == "v_prediction" else 1.0
