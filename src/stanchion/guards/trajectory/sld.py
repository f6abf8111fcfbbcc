"""SLD (safe latent diffusion, arXiv 2211.05105): guidance away from a safety text, where the prompt comes near to it.

With u, p, S the empty prompt, the prompt and the safety text, s the guidance scale, nu = 0 before the first pass:

    D     = eps_p - eps_S
    mu    = min(1, s_S |D|) where D < lambda, else 0      entry by entry; D is signed
    gamma = mu (eps_S - eps_u) + s_m nu
    nu    <- beta_m nu + (1 - beta_m) gamma               in every pass, those of the warm-up included
    eps   = eps_u + s (eps_p - eps_u - gamma)             without gamma in the first delta passes

The paper's equation 6 reads max(1, |phi|); this is the released code's min. A negative prompt of the caller's stands
in for the empty one, as it does there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from ...config import NotNegative, Positive, Range, Real, checked
from ...types import Call, Condition, Guided, Step
from ..base import TrajectoryGuard


@dataclass(frozen=True)
class Strength:
    """Five constants of a preset: delta as a fraction of the schedule, s_S, lambda, s_m, beta_m."""

    warmup: float
    scale: float
    threshold: float
    momentum: float
    decay: float


PRESETS = {  # published for 50 steps: 15, 10, 7 and 0 of warm-up
    "weak": Strength(0.30, 200.0, 0.0, 0.0, 0.0),
    "weak_diffusers": Strength(0.30, 20.0, 0.0, 0.0, 0.0),
    "medium": Strength(0.20, 1000.0, 0.01, 0.3, 0.4),
    "strong": Strength(0.14, 2000.0, 0.025, 0.5, 0.7),
    "max": Strength(0.0, 5000.0, 1.0, 0.5, 0.7),
}


@checked
@dataclass(frozen=True)
class SLDSettings:
    """Settings of SLD.

    Attributes:
        preset: published values of the five constants; "weak" has the paper's scale, "weak_diffusers" that of the
            pipeline in diffusers.
        warmup: delta as a fraction of the schedule, 0 or more; None takes the preset's, like the four that follow.
        scale: s_S, in 1 / noise, 0 or more.
        threshold: lambda, in units of noise.
        momentum: s_m, 0 to below 1.
        decay: beta_m, 0 to below 1.
        unit: how many times larger D is than in Stable Diffusion 1.4, above 0: lambda and s_S are for D / unit, so
            that the same share of entries is steered.
    """

    preset: Literal["weak", "weak_diffusers", "medium", "strong", "max"] = "max"
    warmup: NotNegative | None = None
    scale: NotNegative | None = None
    threshold: Real | None = None
    momentum: Annotated[float, Range(0, 1, below=True)] | None = None
    decay: Annotated[float, Range(0, 1, below=True)] | None = None
    unit: Positive = 1.0


@dataclass
class State:
    """One call: the safety text, the momentum nu (float32), the passes so far, and the first one's place."""

    concept: Condition
    momentum: Tensor | None = None
    passes: int = 0
    first: int | None = None


class SLD(TrajectoryGuard):
    """Safe latent diffusion (arXiv 2211.05105). Equations are in the module's docstring."""

    name = "sld"
    Settings = SLDSettings
    settings: SLDSettings

    def begin(self, call: Call) -> State:
        """Encode the concept's text, which is the safety text."""
        return State(call.encode([self.concept.text]))

    @property
    def strength(self) -> Strength:
        """The preset's constants, with what is set in their place."""
        chosen = {field.name: getattr(self.settings, field.name) for field in fields(Strength)}
        return replace(PRESETS[self.settings.preset], **{k: value for k, value in chosen.items() if value is not None})

    def on_step(self, step: Step, state: State) -> Guided:
        """One batch of three predictions. Where guidance is off, s is 1."""
        own, p, concept = step.predict(step.latents, step.negative or step.empty, step.prompt, state.concept)
        strength = self.strength
        unit = step.noise_scale / self.settings.unit
        gamma = safety(own.float(), p.float(), concept.float(), strength, state, unit)
        state.first = step.index if state.first is None else state.first
        steps = step.total - state.first
        warm = state.passes >= round(strength.warmup * steps) or step.done >= strength.warmup
        state.passes += 1
        noise = own + step.guidance_scale * (p - own)
        if warm:
            noise = (noise - step.guidance_scale * gamma).to(p.dtype)
        steered = gamma.flatten(1).ne(0).float().mean(1)
        return Guided(noise, step.latents, (steered > 0) & warm, {"steered": steered})


def safety(own: Tensor, prompt: Tensor, concept: Tensor, strength: Strength, state: State, unit: float) -> Tensor:
    """gamma as a difference of predictions, (B, …); ``unit`` turns these into what the constants are in.

    nu, which ``state`` keeps for the next pass, is in these units too: they change from step to step with velocity.
    """
    unit = max(unit, torch.finfo(torch.float32).tiny)  # 0 where a model of velocity sees nothing but noise
    difference = unit * (prompt - concept)
    mu = (strength.scale * difference.abs()).clamp_max(1.0).where(difference < strength.threshold, 0.0)
    nu = torch.zeros_like(mu) if state.momentum is None else state.momentum
    gamma = mu * unit * (concept - own) + strength.momentum * nu
    state.momentum = strength.decay * nu + (1 - strength.decay) * gamma
    return gamma / unit
