"""A denoiser under classifier-free guidance as a policy: its prompts decide what it does."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ....learning.policy_gradient import Rollout
from ....pipeline.model.workbench import Workbench
from ....pipeline.noise import StochasticSteps


@dataclass(frozen=True)
class Guidance:
    """How a run is guided: its training ``timesteps`` (S,), the ``empty`` prompt's states (1, L, D), the ``scale``."""

    bench: Workbench
    timesteps: Tensor
    empty: Tensor
    scale: float


@dataclass(frozen=True)
class Sampled:
    """What a process drew, and what it is to learn from it.

    Attributes:
        guidance, scheme: of the run.
        embeds: (B, L, D) states of the prompts to learn for; explorers were drawn under other ones.
        taken: the actions.
        unconditional: (S, B, …) the empty prompt's predictions at every step.
        advantages: (B,).
        explores: (B,) whether a row was drawn under what is wanted instead of its prompt.
    """

    guidance: Guidance
    scheme: StochasticSteps
    embeds: Tensor
    taken: Rollout
    unconditional: Tensor
    advantages: Tensor
    explores: Tensor


@dataclass
class Sampling:
    """The policy that draws; keeps the empty prompt's predictions of every step."""

    guidance: Guidance
    embeds: Tensor
    unconditional: list[Tensor] = field(default_factory=list)

    def __call__(self, latents: Tensor, places: Tensor) -> Tensor:
        guidance, bench = self.guidance, self.guidance.bench
        both = torch.cat([guidance.empty.expand_as(self.embeds), self.embeds])
        latents, times = latents.to(bench.dtype), guidance.timesteps[places]
        empty, prompt = bench.predict(torch.cat([latents, latents]), torch.cat([times, times]), both).chunk(2)
        self.unconditional.append(empty)
        return empty + guidance.scale * (prompt - empty)


@dataclass(frozen=True)
class Replaying:
    """The policy that learns from the actions of ``rows``.

    The empty prompt's prediction stays what drawing saw, unless ``empty_gradient``.
    """

    drawn: Sampled
    rows: Tensor
    empty_gradient: bool = False

    def __call__(self, latents: Tensor, places: Tensor) -> Tensor:
        guidance, bench = self.drawn.guidance, self.drawn.guidance.bench
        embeds = self.drawn.embeds[self.rows]
        latents, times = latents.to(bench.dtype), guidance.timesteps[places]
        if self.empty_gradient:
            return bench.guided(latents, times, embeds, guidance.empty, guidance.scale)
        empty = self.drawn.unconditional[places, self.rows]
        return empty + guidance.scale * (bench.predict(latents, times, embeds) - empty)
