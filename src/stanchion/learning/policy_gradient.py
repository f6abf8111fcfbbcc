"""Policy gradient over denoising steps (DDPO, arXiv 2305.13301): each step is an action, its Gaussian the policy.

Independent of guards, rewards, models and noise: a ``Policy`` is any function from x_t to the guided prediction, and
``Steps`` say what Gaussian follows from it.

    log p   = mean over the latent's elements of log N(x_s; mu, sigma_t^2)      the mean, so a ratio stays near 1
    L       = mean max(-A rho, -A clip(rho, 1 - delta, 1 + delta))              rho = exp(log p - log p_old)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Policy = Callable[[Tensor, Tensor], Tensor]  # x_t (B, …) and the place of each row's step (B,) to a prediction (B, …)


class Steps(Protocol):
    """Denoising steps by their place, 0 the noisiest; the first ``actions`` of all ``steps`` are stochastic."""

    @property
    def steps(self) -> int: ...

    @property
    def actions(self) -> int: ...

    def deviation(self, places: Tensor) -> Tensor:
        """(B,) of the Gaussian of each row's step."""

    def mean(self, latents: Tensor, prediction: Tensor, places: Tensor) -> Tensor:
        """Its mean (B, …), from x_t and what the policy says there."""

    def log_prob(self, sample: Tensor, mean: Tensor, places: Tensor) -> Tensor:
        """(B,) log-density of what was drawn."""


def _like(values: Tensor, rows: Tensor) -> Tensor:
    """(B,) values that multiply (B, …) rows."""
    return values.to(rows.dtype).reshape(-1, *(1,) * (rows.ndim - 1))


@dataclass(frozen=True)
class Rollout:
    """What a policy did: ``latents`` (S + 1, B, …) before each step and after the last, ``log_probs`` (A, B)."""

    latents: Tensor
    log_probs: Tensor


@torch.no_grad()
def rollout(policy: Policy, scheme: Steps, start: Tensor, noise: Tensor) -> Rollout:
    """Let a policy draw: from ``start`` (B, …) with the noise of its A actions (A, B, …), all float32."""
    latents, log_probs = [start], []
    for place in range(scheme.steps):
        places = torch.full((len(start),), place, device=start.device)
        mean = scheme.mean(latents[-1], policy(latents[-1], places).float(), places)
        if place >= scheme.actions:
            latents.append(mean)
        else:
            latents.append(mean + _like(scheme.deviation(places), mean) * noise[place])
            log_probs.append(scheme.log_prob(latents[-1], mean, places))
    return Rollout(torch.stack(latents), torch.stack(log_probs))


def replay(policy: Policy, scheme: Steps, taken: Rollout, rows: Tensor, places: Tensor) -> Tensor:
    """(N,) ratios rho of actions, new policy to old: the step ``places[i]`` of the row ``rows[i]``.

    ``policy`` sees the N actions as its batch. 1 as long as the policy has not changed.
    """
    here, there = taken.latents[places, rows], taken.latents[places + 1, rows]
    mean = scheme.mean(here, policy(here, places).float(), places)
    return (scheme.log_prob(there, mean, places) - taken.log_probs[places, rows]).exp()


def clipped_loss(ratios: Tensor, advantages: Tensor, delta: float) -> Tensor:
    """Each action's PPO loss; ``delta`` is how far a ratio may leave 1 before its gradient ends (inf: never)."""
    return torch.maximum(-advantages * ratios, -advantages * ratios.clamp(1 - delta, 1 + delta))


def group_advantages(rewards: Tensor, groups: Sequence[int], *, limit: float, floor: float = 0.0) -> Tensor:
    """(B,) rewards against their own group's mean and deviation, cut to [-limit, limit].

    ``floor`` is the least deviation to divide by: in a group whose pictures are all alike, what is left is noise.
    """
    advantages = torch.zeros_like(rewards)
    for group in sorted(set(groups)):
        rows = [row for row, other in enumerate(groups) if other == group]
        mine = rewards[rows]
        spread = mine.std(correction=0).clamp_min(max(floor, 1e-6))
        advantages[rows] = (mine - mine.mean()) / spread
    return advantages.clamp(-limit, limit)


class PromptStatistics:
    """Mean and deviation of each prompt's last rewards, as DDPO keeps them."""

    def __init__(self, size: int = 16, least: int = 16) -> None:
        self.size, self.least = size, least
        self.rewards: dict[str, deque[float]] = {}

    def advantages(self, prompts: Sequence[str], rewards: Tensor, *, limit: float) -> Tensor:
        """(B,) advantages; a prompt with too few rewards so far is compared with the batch."""
        for prompt, reward in zip(prompts, rewards.tolist(), strict=True):
            self.rewards.setdefault(prompt, deque(maxlen=self.size)).append(reward)
        values = []
        for prompt, reward in zip(prompts, rewards, strict=True):
            known = torch.tensor(list(self.rewards[prompt])) if len(self.rewards[prompt]) >= self.least else rewards
            values.append((reward - known.mean()) / (known.std(correction=0) + 1e-6))
        return torch.stack(values).clamp(-limit, limit)

    def state(self) -> dict[str, list[float]]:
        """Plain values for a checkpoint."""
        return {prompt: list(rewards) for prompt, rewards in self.rewards.items()}

    def load(self, state: dict[str, list[float]]) -> None:
        """Go on from ``state``."""
        self.rewards = {prompt: deque(rewards, maxlen=self.size) for prompt, rewards in state.items()}
