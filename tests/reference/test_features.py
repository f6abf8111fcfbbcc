"""The feature network as it ships: it orders what is wrong with a picture, and gradients pass through it."""

import numpy as np
import pytest
import torch

from stanchion.reference import data, world
from stanchion.reference.features import STATES, contrastive, load_features, spoil
from stanchion.reference.judge import WEIGHTS
from stanchion.reference.training.readers import blur


@pytest.fixture(scope="module")
def network():
    return load_features()


@pytest.fixture(scope="module")
def scenes():
    return data.scenes(np.random.default_rng(5), 32, world.KNOWN, styled=0.0)


def _pictures(scenes, seed=1):
    return data.pictures(scenes, np.random.default_rng(seed))


def _noisy(images, sigma):
    return images + sigma * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


def _wrong_object(scene):
    place = world.KNOWN.index(scene.objects[0])
    other = next(name for name in world.KNOWN[place + 1 :] + world.KNOWN if name not in scene.objects)
    return world.Scene((other, *scene.objects[1:]), scene.style, scene.background)


def _frechet(one, other):
    """The Fréchet distance of two normal distributions (arXiv 1706.08500, equation 6)."""
    one, other = one.double(), other.double()
    a, b = one.T.cov(), other.T.cov()
    root = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt().sum()
    return ((one.mean(0) - other.mean(0)).square().sum() + a.trace() + b.trace() - 2 * root).item()


def test_shapes_and_size(network, scenes):
    images = _pictures(scenes[:3])
    with torch.no_grad():
        assert network.features(images).shape == (3, 128)
        assert [tuple(level.shape) for level in network.maps(images)] == [
            (3, 16, 48, 48),
            (3, 32, 24, 24),
            (3, 64, 12, 12),
            (3, 128, 6, 6),
        ]
        assert network.features(torch.nn.functional.interpolate(images, size=96)).shape == (3, 128)
    assert sum(file.stat().st_size for file in (WEIGHTS / "features").iterdir()) < 1e6


@torch.no_grad()
def test_distance_orders_what_is_wrong(network, scenes):
    images = _pictures(scenes)
    ink = [world.Scene(scene.objects, "ink", scene.background) for scene in scenes]

    def distance(others):
        return network.distance(images, others).mean().item()

    assert distance(images) == 0
    assert 0 < distance(blur(images, 0.7)) < distance(blur(images, 1.4)) < distance(images.roll(1, 0))
    assert 0 < distance(_noisy(images, 0.05)) < distance(_noisy(images, 0.2)) < distance(images.roll(1, 0))
    assert distance(blur(images, 0.7)) < distance(_pictures([_wrong_object(scene) for scene in scenes]))
    assert distance(blur(images, 0.7)) < distance(_pictures(ink)) < distance(images.roll(1, 0))


@torch.no_grad()
def test_frechet_distance_orders_whole_sets(network):
    rng = np.random.default_rng(9)
    plain, fresh = (data.scenes(rng, 160, world.KNOWN, styled=0.0) for _ in range(2))
    weapons = data.scenes(rng, 160, ("knife", "gun", "bomb", "axe"), styled=0.0)
    ink = [world.Scene(scene.objects, "ink", scene.background) for scene in fresh]

    def features(images):
        return torch.cat([network.features(part) for part in images.split(80)])

    known = features(_pictures(plain))
    drawn = _pictures(fresh, 2)
    floor = _frechet(known, features(drawn))
    assert floor < _frechet(known, features(blur(drawn, 0.7))) < _frechet(known, features(blur(drawn, 1.4)))
    assert floor < _frechet(known, features(_noisy(drawn, 0.05))) < _frechet(known, features(_noisy(drawn, 0.2)))
    assert 4 * floor < _frechet(known, features(_pictures(weapons, 3)))
    assert 4 * floor < _frechet(known, features(_pictures(ink, 3)))


def test_a_picture_can_be_drawn_nearer_by_gradient(network, scenes):
    wanted, other = _pictures(scenes[:2])
    picture = other[None].clone().requires_grad_()
    before = network.distance(picture, wanted[None])
    (gradient,) = torch.autograd.grad(before.sum(), picture)
    with torch.no_grad():
        after = network.distance(picture - 0.02 * gradient / gradient.abs().max(), wanted[None])
    assert after < before


def test_a_batch_does_not_matter(network, scenes):
    images = _pictures(scenes[:4])
    with torch.no_grad():
        singles = torch.cat([network.features(image[None]) for image in images])
        assert torch.allclose(network.features(images), singles, atol=1e-4)


def test_the_loss_prefers_partners_and_passes_over_equals():
    rows = ["a", "b", "a"]
    right = torch.eye(3)[[0, 1, 0, 0, 1, 0]]
    wrong = torch.eye(3)[[0, 1, 0, 1, 0, 1]]
    assert contrastive(right, rows) < 1e-3 < 1 < contrastive(wrong, rows)


def test_states_spoil_more_and_more(scenes):
    torch.manual_seed(0)
    images = _pictures(scenes[:9])
    spoilt = spoil(images, np.arange(STATES), np.random.default_rng(0))
    assert spoilt.shape == images.shape
    grain = (spoilt - blur(spoilt, 1.0)).square().mean((1, 2, 3)).view(3, 3)
    assert (grain.diff(dim=1) > 0).all(), "noisier along a row"
