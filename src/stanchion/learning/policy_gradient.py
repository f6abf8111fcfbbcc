"""Policy gradient over denoising steps (DDPO, arXiv 2305.13301): each step is an action, its Gaussian the policy.

Independent of guards, rewards and models: a ``Policy`` is any function from x_t to the guided noise.

    sigma_t = eta sqrt((1 - a_s) / (1 - a_t)) sqrt(1 - a_t / a_s)           a_t: alpha_bar now, a_s: after the step
    mu      = sqrt(a_s) x0 + sqrt(1 - a_s - sigma_t^2) eps                  x0 = (x_t - sqrt(1 - a_t) eps) / sqrt(a_t)
    log p   = mean over the latent's elements of log N(x_s; mu, sigma_t^2)      the mean, so a ratio stays near 1
    L       = mean max(-A rho, -A clip(rho, 1 - delta, 1 + delta))              rho = exp(log p - log p_old)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Policy = Callable[[Tensor, Tensor], Tensor]  # x_t (B, …) and the place of each row's step (B,) to noise (B, …)


@dataclass(frozen=True)
class StochasticDDIM:
    """A schedule of S denoising steps, by their place, 0 the noisiest; the first of them are stochastic.

    Only stochastic steps are actions. Where the first few alone are, what a picture earns was decided there, and not
    by the noise of steps that only finish it.

    Attributes:
        alpha_bar: (S + 1,) cumulative product of alpha before each step, and after the last.
        eta: weight of the noise in stochastic steps, in (0, 1].
        actions: how many steps are stochastic; S - 1 at most, for the last ends without noise.
    """

    alpha_bar: Tensor
    eta: float
    actions: int

    @classmethod
    def over(cls, alpha_bar: Tensor, timesteps: Tensor, eta: float = 1.0, share: float = 1.0) -> StochasticDDIM:
        """The steps between a model's ``timesteps`` (S,), where ``alpha_bar`` (T,) is its schedule.

        ``share`` of the steps are stochastic, one at least.
        """
        steps = len(timesteps)
        ends = torch.cat([alpha_bar[timesteps].double(), torch.ones_like(alpha_bar[:1], dtype=torch.double)])
        return cls(ends, eta, min(steps - 1, max(1, round(share * steps))))

    @property
    def steps(self) -> int:
        """S."""
        return len(self.alpha_bar) - 1

    def after(self, first: int) -> StochasticDDIM:
        """The steps from ``first`` on, of which as many are stochastic as they can: a run from a noised picture."""
        return StochasticDDIM(self.alpha_bar[first:], self.eta, min(self.actions, self.steps - first - 1))

    def deviation(self, places: Tensor) -> Tensor:
        """sigma_t of steps (B,), in float64; 0 where there is no noise."""
        now, after = self.alpha_bar[places], self.alpha_bar[places + 1]
        sigma = self.eta * ((1 - after) / (1 - now) * (1 - now / after)).sqrt()
        return sigma * (places < self.actions)

    def mean(self, latents: Tensor, noise: Tensor, places: Tensor) -> Tensor:
        """mu of each row's step from x_t and the guided noise, both (B, …)."""
        now, after = self.alpha_bar[places], self.alpha_bar[places + 1]
        of_noise = (1 - after - self.deviation(places) ** 2).clamp_min(0).sqrt() - (after * (1 - now) / now).sqrt()
        return _like((after / now).sqrt(), latents) * latents + _like(of_noise, latents) * noise

    def log_prob(self, sample: Tensor, mean: Tensor, places: Tensor) -> Tensor:
        """(B,) log-density of what was drawn, averaged over elements."""
        sigma = self.deviation(places)
        squares = ((sample - mean) ** 2).flatten(1).mean(1)
        constant = sigma.log() + 0.5 * math.log(2 * math.pi)
        return -squares * _like(0.5 / sigma**2, squares) - constant.to(squares)


def _like(values: Tensor, rows: Tensor) -> Tensor:
    """(B,) values that multiply (B, …) rows."""
    return values.to(rows.dtype).reshape(-1, *(1,) * (rows.ndim - 1))


@dataclass(frozen=True)
class Rollout:
    """What a policy did: ``latents`` (S + 1, B, …) before each step and after the last, ``log_probs`` (A, B)."""

    latents: Tensor
    log_probs: Tensor


@torch.no_grad()
def rollout(policy: Policy, scheme: StochasticDDIM, start: Tensor, noise: Tensor) -> Rollout:
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


def replay(policy: Policy, scheme: StochasticDDIM, taken: Rollout, rows: Tensor, places: Tensor) -> Tensor:
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
