"""The stochastic sampler, its log-probabilities, and policy gradient where the optimum is known."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler
from torch import nn

from closeness import same_bits
from stanchion.learning.policy_gradient import (
    PromptStatistics,
    clipped_loss,
    group_advantages,
    replay,
    rollout,
)
from stanchion.pipeline.noise import StochasticDDIM

SHAPE = (2, 3, 3)


def schedule(steps=5, eta=1.0):
    ddim = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
    ddim.set_timesteps(steps)
    return ddim, StochasticDDIM.over(ddim.alphas_cumprod, ddim.timesteps, eta)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_run_from_a_later_step_has_its_own_stochastic_steps():
    _, whole = schedule(steps=7)
    few = StochasticDDIM(whole.ends, 1.0, 3)
    late = few.after(2)
    assert (late.steps, late.actions, few.after(4).actions, few.after(0).actions) == (5, 3, 2, 3)
    assert same_bits(late.deviation(torch.arange(3)), whole.deviation(torch.arange(2, 5)))


@pytest.mark.parametrize("eta", [1.0, 0.3])
def test_a_step_is_the_schedulers_own(eta):
    ddim, scheme = schedule(eta=eta)
    latents, eps, noise = (random(4, *SHAPE, seed=seed) for seed in range(3))
    for place, time in enumerate(ddim.timesteps[:-1]):
        stock = ddim.step(eps, time, latents, eta=eta, variance_noise=noise).prev_sample
        places = torch.full((4,), place)
        sigma = scheme.deviation(places).float()[:, None, None, None]
        torch.testing.assert_close(scheme.mean(latents, eps, places) + sigma * noise, stock, rtol=1e-4, atol=1e-4)


def test_the_last_step_ends_at_the_clean_latents():
    ddim, scheme = schedule()
    latents, eps = random(4, *SHAPE), random(4, *SHAPE, seed=1)
    share = ddim.alphas_cumprod[ddim.timesteps[-1]]
    clean = (latents - (1 - share).sqrt() * eps) / share.sqrt()
    torch.testing.assert_close(scheme.mean(latents, eps, torch.full((4,), 4)), clean)


def test_only_the_first_steps_need_be_stochastic():
    ddim, whole = schedule()
    few = StochasticDDIM.over(ddim.alphas_cumprod, ddim.timesteps, share=0.4)
    assert (whole.actions, few.actions) == (4, 2)
    assert few.deviation(torch.arange(5)).tolist() == [*whole.deviation(torch.arange(2)).tolist(), 0, 0, 0]
    latents, eps = random(1, *SHAPE), random(1, *SHAPE, seed=1)
    stock = ddim.step(eps, ddim.timesteps[3], latents, eta=0.0).prev_sample
    torch.testing.assert_close(few.mean(latents, eps, torch.tensor([3])), stock, rtol=1e-4, atol=1e-4)
    taken = rollout(lambda x, t: x, few, random(3, *SHAPE), random(2, 3, *SHAPE, seed=1))
    assert taken.latents.shape == (6, 3, *SHAPE) and taken.log_probs.shape == (2, 3)


def test_log_probabilities_are_the_normal_distributions_own_on_average():
    _, scheme = schedule()
    sample, mean, places = random(3, *SHAPE), random(3, *SHAPE, seed=1), torch.tensor([0, 2, 3])
    for row in range(3):
        normal = torch.distributions.Normal(mean[row], scheme.deviation(places[row : row + 1]).float())
        expected = normal.log_prob(sample[row]).mean()
        torch.testing.assert_close(scheme.log_prob(sample, mean, places)[row], expected)


def test_the_ratio_is_one_right_after_sampling():
    _, scheme = schedule()
    weight = random(*SHAPE)

    def policy(latents, places):
        return weight * latents + places[:, None, None, None] / 10

    taken = rollout(policy, scheme, random(4, *SHAPE), random(4, 4, *SHAPE, seed=2))
    ratios = replay(policy, scheme, taken, torch.tensor([3, 0, 1]), torch.tensor([0, 3, 2]))
    torch.testing.assert_close(ratios, torch.ones(3), rtol=0, atol=1e-5)
    changed = replay(lambda x, t: policy(x, t) * 1.5, scheme, taken, torch.tensor([3, 0, 1]), torch.tensor([0, 3, 2]))
    assert ((changed - 1).abs() > 1e-3).all()


def test_beyond_the_clip_there_is_no_gradient():
    ratios = torch.tensor([0.9, 0.9, 1.1, 1.1, 1.0]).requires_grad_(True)
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    clipped_loss(ratios, advantages, 0.05).sum().backward()
    assert ratios.grad.tolist() == [-1.0, 0.0, 0.0, 1.0, -2.0]


def test_groups_are_compared_within_themselves():
    rewards = torch.tensor([1.0, 3.0, 10.0, 10.0, 0.0, 100.0])
    found = group_advantages(rewards, [0, 0, 1, 1, 2, 2], limit=0.9)
    torch.testing.assert_close(found, torch.tensor([-0.9, 0.9, 0.0, 0.0, -0.9, 0.9]))
    floored = group_advantages(torch.tensor([1.0, 1.2]), [0, 0], limit=5, floor=1.0)
    torch.testing.assert_close(floored, torch.tensor([-0.1, 0.1]))


def test_a_prompts_history_counts_once_there_is_enough_of_it():
    statistics = PromptStatistics(size=4, least=4)
    first = statistics.advantages(["a", "a", "b"], torch.tensor([0.0, 1.0, 5.0]), limit=10)
    assert first.mean().abs() < 1e-6  # the batch's own mean
    statistics.advantages(["a", "a"], torch.tensor([0.0, 1.0]), limit=10)
    later = statistics.advantages(["a", "b"], torch.tensor([1.0, 5.0]), limit=10)
    assert later[0] == pytest.approx((1 - 0.75) / math.sqrt(0.1875), rel=1e-4)  # the last four: 1, 0, 1, 1
    again = PromptStatistics(size=4, least=4)
    again.load(statistics.state())
    assert again.state() == statistics.state()


def test_it_learns_the_known_optimum():
    """The last picture's mean shall be 1. A noise that is one number decides it, and its best value can be computed."""
    _, scheme = schedule()
    shift = nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.Adam([shift], 0.05)

    def policy(latents, places):
        return shift.expand_as(latents)

    def final(value, start, noise):
        with torch.no_grad():
            old = shift.clone()
            shift.fill_(value)
            ends = rollout(policy, scheme, start, noise).latents[-1].mean()
            shift.copy_(old)
        return ends.item()

    zero = torch.zeros(1, *SHAPE), torch.zeros(4, 1, *SHAPE)
    slope = final(1.0, *zero) - final(0.0, *zero)  # the end is linear in the shift
    best = 1 / slope
    for iteration in range(60):
        start, noise = random(1, *SHAPE, seed=iteration), random(4, 32, *SHAPE, seed=1000 + iteration)
        taken = rollout(policy, scheme, 0 * start.expand(32, *SHAPE), noise)
        rewards = -((taken.latents[-1].flatten(1).mean(1) - 1) ** 2)
        advantages = group_advantages(rewards, [0] * 32, limit=3)
        rows, places = (grid.flatten() for grid in torch.meshgrid(torch.arange(32), torch.arange(4), indexing="ij"))
        ratios = replay(policy, scheme, taken, rows, places)
        clipped_loss(ratios, advantages[rows], 1.0).mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    assert shift.item() == pytest.approx(best, abs=0.25 * abs(best))
