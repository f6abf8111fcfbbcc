"""The stochastic twin of a flow's ODE: the same marginals at each step, and log-probabilities with their gradients."""

from __future__ import annotations

import pytest
import torch

from closeness import same_bits
from stanchion.learning.policy_gradient import rollout
from stanchion.pipeline.noise import StochasticFlow

CENTRE, WIDTH = 0.7, 0.5  # of clean data on a line, normally distributed


def steps(count=40, eta=1.0, share=1.0):
    return StochasticFlow.over(torch.linspace(1, 1 / count, count), eta, share)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def marginal(t):
    """Mean and deviation of x_t."""
    return (1 - t) * CENTRE, ((1 - t) ** 2 * WIDTH**2 + t**2) ** 0.5


def velocity(scheme):
    """E[noise - clean | x_t], in closed form."""

    def policy(latents, places):
        t = scheme.ends[places][:, None].float()
        centre, spread = marginal(t)
        off = (latents - centre) / spread**2
        return t * off - (CENTRE + (1 - t) * WIDTH**2 * off)

    return policy


@pytest.mark.parametrize("eta", [0.3, 0.7, 1.0])
def test_marginals_are_the_odes_at_every_step(eta):
    start, noise = random(1, 20000)[0][:, None], random(39, 20000, seed=1)[..., None]
    stochastic, plain = steps(eta=eta), steps(eta=1e-9)
    taken, ode = (rollout(velocity(scheme), scheme, start, noise).latents[..., 0] for scheme in (stochastic, plain))
    centres, spreads = zip(*[marginal(t) for t in stochastic.ends.tolist()], strict=True)
    for run in (taken, ode):
        torch.testing.assert_close(run.mean(1), torch.tensor(centres), rtol=0, atol=0.03)
        torch.testing.assert_close(run.std(1), torch.tensor(spreads), rtol=0, atol=0.03)
    torch.testing.assert_close(taken.std(1), ode.std(1), rtol=0, atol=0.03)
    left = torch.corrcoef(torch.stack([taken[-1], ode[-1]]))[0, 1]
    assert left < 0.95  # and yet each picture went its own way


@pytest.mark.parametrize("count", [4, 7, 40])
def test_a_point_is_met_exactly_however_few_the_steps(count):
    """Where x_0 and noise are known, a step keeps both shares: no noise is left over."""
    scheme, clean = steps(count), torch.full((4096, 1), 2.0)

    def known(latents, places):
        t = scheme.ends[places][:, None].float()
        return (latents - clean) / t

    taken = rollout(known, scheme, random(4096, 1), random(count - 1, 4096, 1, seed=1)).latents[..., 0]
    ends = scheme.ends.float()
    torch.testing.assert_close(taken.std(1), ends, rtol=0, atol=0.04)
    torch.testing.assert_close(taken.mean(1), 2 * (1 - ends), rtol=0, atol=0.06)


def test_without_noise_a_step_is_eulers():
    scheme, latents, v = steps(7, share=0.4), random(2, 3, 4), random(2, 3, 4, seed=1)
    assert scheme.actions == 3
    places = torch.tensor([3, 6])
    change = (scheme.ends[places] - scheme.ends[places + 1]).float()[:, None, None]
    torch.testing.assert_close(scheme.mean(latents, v, places), latents - change * v)
    assert scheme.deviation(places).tolist() == [0, 0]
    late = scheme.after(2)
    assert (late.steps, late.actions) == (5, 3) and same_bits(late.ends, scheme.ends[2:])


def test_to_first_order_it_is_the_papers_step():
    """x + [v + sigma_t^2 / (2 t) (x + (1 - t) v)] (u - t), and sigma_t sqrt(t - u) of noise."""
    t, u, eta = 0.6, 0.5999, 0.7
    scheme = StochasticFlow(torch.tensor([t, u, 0], dtype=torch.double), eta, 1)
    x, v = random(3, 5).double(), random(3, 5, seed=1).double()
    squared = eta**2 * t / (1 - t)
    euler = x + (v + squared / (2 * t) * (x + (1 - t) * v)) * (u - t)
    first = torch.zeros(3, dtype=torch.long)
    torch.testing.assert_close(scheme.mean(x, v, first), euler, rtol=0, atol=1e-7)
    torch.testing.assert_close(scheme.deviation(first)[0].item(), (squared * (t - u)) ** 0.5, rtol=1e-9, atol=0)


def test_gradients_of_log_probabilities_are_autograds():
    scheme, places = steps(7), torch.tensor([0, 2, 5])
    latents, after = random(3, 6).double(), random(3, 6, seed=1).double()
    v = random(3, 6, seed=2).double().requires_grad_(True)
    mean, sigma = scheme.mean(latents, v, places), scheme.deviation(places)[:, None]
    normal = torch.distributions.Normal(mean, sigma).log_prob(after).mean(1)
    own = scheme.log_prob(after, mean, places)
    torch.testing.assert_close(own, normal)
    expected = torch.autograd.grad(normal.sum(), v, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(own.sum(), v)[0], expected)
    slope = (after - mean.detach()) / sigma**2 / 6
    weight = scheme._weights(scheme.ends[places], scheme.ends[places + 1], scheme.deviation(places))[1]
    torch.testing.assert_close(expected, slope * weight[:, None])
