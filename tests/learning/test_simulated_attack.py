"""Simulated attacks: whose gradient is taken where, what is left as it was, and that it is the same each time."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from closeness import same_bits
from stanchion import ConfigError
from stanchion.learning.simulated_attack import OPTIMISERS, Attacker, Attackers, PersistentAttack, SimulatedAttack

ADAM = Attacker("adam", lr=0.05, batch=6, steps=7)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def drawn(batch, rng):
    return torch.from_numpy(rng.standard_normal((batch, 3))).float()


def attack_loss(module, batch, rng):
    inputs = drawn(batch, rng)
    return (module(inputs) - inputs[:, :2]).square().mean()


def protect_loss(module, rng):
    return module(drawn(4, rng)).square().mean()


def by_hand(attacker, stops):
    """Copies of the network after ``stops`` updates, and the meta-gradient summed over them, with no short cuts."""
    module, rng = network(), np.random.default_rng(5)
    optimiser = OPTIMISERS[attacker.optimiser](module.parameters(), lr=attacker.lr)
    total = [torch.zeros_like(p) for p in module.parameters()]
    for step in range(1, attacker.steps + 1):
        optimiser.zero_grad()
        attack_loss(module, attacker.batch, rng).backward()
        if attacker.clip:
            nn.utils.clip_grad_norm_(module.parameters(), attacker.clip)
        optimiser.step()
        if step in stops:
            there = copy.deepcopy(module)
            there.zero_grad()
            protect_loss(there, rng).backward()
            total = [a + p.grad / len(stops) for a, p in zip(total, there.parameters(), strict=True)]
    return module, total


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("clip", [0.0, 0.1])
def test_the_gradient_is_the_one_at_the_adapted_weights(name, clip):
    attacker = Attacker(name, lr=0.05, batch=6, steps=7, clip=clip)
    module = network()
    losses = SimulatedAttack(module, attacker).protect(attack_loss, protect_loss, np.random.default_rng(5), every=3)
    _, wanted = by_hand(attacker, {1, 4, 7})
    assert len(losses) == 3
    for parameter, gradient in zip(module.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_the_originals_are_untouched_and_gradients_add_up():
    module, before = network(), network()
    module[0].weight.grad = torch.ones_like(module[0].weight)
    module[2].requires_grad_(False)
    SimulatedAttack(module, ADAM).protect(attack_loss, protect_loss, np.random.default_rng(5), every=1, weight=0.5)
    assert all(same_bits(a, b) for a, b in zip(module.parameters(), before.parameters(), strict=True))
    assert [p.requires_grad for p in module.parameters()] == [True, True, False, False]
    assert module[2].weight.grad is None  # attacked, but not trained
    _, wanted = by_hand(ADAM, set(range(1, 8)))
    torch.testing.assert_close(module[0].weight.grad, 1 + 0.5 * wanted[0])


def test_buffers_come_back():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    SimulatedAttack(module, ADAM).protect(attack_loss, protect_loss, np.random.default_rng(0))
    assert all(same_bits(value, before[key]) for key, value in module.state_dict().items())


def test_an_attacker_may_train_a_part():
    module = network()
    attack = SimulatedAttack(module, ADAM, list(module[2].parameters()))
    attack.attack(attack_loss, np.random.default_rng(0))
    with attack.attacked():
        assert same_bits(module[0].weight, network()[0].weight)
        assert not same_bits(module[2].weight, network()[2].weight)


def test_a_persistent_attacker_goes_on_where_it_was():
    """Three calls of a few updates are one attack; and so they are over a checkpoint in between."""
    whole, parts = network(), network()
    rng = np.random.default_rng(5)
    one = SimulatedAttack(whole, ADAM)
    one.attack(attack_loss, rng)
    rng = np.random.default_rng(5)
    first = SimulatedAttack(parts, ADAM)
    for _ in range(2):
        first.protect(attack_loss, lambda module, rng: module[0].weight.sum(), rng, steps=2)
    then = SimulatedAttack(parts, ADAM)
    then.load_state_dict(copy.deepcopy(first.state_dict()))
    then.protect(attack_loss, lambda module, rng: module[0].weight.sum(), rng)
    assert then.finished and one.finished
    with one.attacked(), then.attacked():
        for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_an_attacker_who_has_won_is_followed_by_the_next():
    module, rng = network(), np.random.default_rng(5)
    attackers = Attackers(("adam",), (0.05,), (6,), (9,))
    lost, won = (PersistentAttack(module, attackers, won=limit) for limit in (float("inf"), 0.0))
    for attacks in (lost, won):
        attacks.protect(attack_loss, protect_loss, rng, steps=2)
    assert lost.state_dict()["attack"]["taken"] == 2 and won.state_dict() == {}
    assert len(won.protect(attack_loss, protect_loss, rng, steps=2)) == 1


def test_it_is_the_same_each_time():
    gradients = []
    for _ in range(2):
        module, rng = network(), np.random.default_rng([3, 7])
        attacker = Attackers(tuple(OPTIMISERS), (1e-3, 1e-1), (4, 8), (2, 9), (1.0,), between=True).draw(rng)
        SimulatedAttack(module, attacker).protect(attack_loss, protect_loss, rng)
        gradients.append([p.grad for p in module.parameters()])
    assert all(same_bits(*pair) for pair in zip(*gradients, strict=True))


def test_an_attacker_that_breaks_the_model_teaches_nothing():
    module = network()
    attack = SimulatedAttack(module, Attacker("sgd", lr=1e30, batch=4, steps=9))
    attack.protect(attack_loss, protect_loss, np.random.default_rng(0))
    assert attack.broken and attack.finished and attack.taken < 9
    assert all(p.grad.isfinite().all() for p in module.parameters())
    assert all(same_bits(a, b) for a, b in zip(module.parameters(), network().parameters(), strict=True))


def test_what_is_learnt_resists_longer():
    """After the same attack the protected network is further from what the attacker wants than an unprotected one."""

    def left(module):
        attack = SimulatedAttack(module, Attacker("adam", 0.01, 16, 10))
        attack.attack(attack_loss, np.random.default_rng(1))
        with attack.attacked(), torch.no_grad():
            return protect_loss(module, np.random.default_rng(2)).item()

    plain, hardened = network(), network()
    for module in (plain, hardened):
        optimiser = torch.optim.Adam(module.parameters(), 0.01)
        for step in range(100):
            rng = np.random.default_rng([9, step])
            optimiser.zero_grad()
            if module is hardened:
                SimulatedAttack(module, Attacker("adam", 0.01, 16, 10)).protect(attack_loss, protect_loss, rng, every=3)
            else:
                protect_loss(module, rng).backward()
            optimiser.step()
    assert left(hardened) < 0.8 * left(plain)


def test_an_unknown_optimiser_is_named():
    with pytest.raises(ConfigError, match=r"'lion'.*momentum"):
        Attacker("lion", 1e-3, 4, 1)


def test_a_list_is_drawn_from_and_a_range_is_filled():
    rng = np.random.default_rng(0)
    listed = {Attackers(lrs=(1e-4, 1e-2), steps=(3, 9)).draw(rng) for _ in range(60)}
    assert {a.lr for a in listed} == {1e-4, 1e-2} and {a.steps for a in listed} == {3, 9}
    filled = [Attackers(lrs=(1e-4, 1e-2), steps=(3, 9), between=True).draw(rng) for _ in range(200)]
    assert all(1e-4 <= a.lr <= 1e-2 and 3 <= a.steps <= 9 for a in filled)
    assert 60 < sum(a.lr < 1e-3 for a in filled) < 140
