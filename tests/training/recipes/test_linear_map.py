"""The map from x to y: both ways find a known one, and agree."""

import torch

from stanchion.training.recipes.steerdiff._linear_map import descended_map, ridge_map


def known(n=400, width=5):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(n, width), 0.3 * torch.randn(3, width), 0.3 * torch.randn(3)
    return x, x @ weight.T + bias, weight, bias


def test_a_known_map_is_found():
    x, y, weight, bias = known()
    layer = ridge_map(x, y, 1e-9)
    torch.testing.assert_close(layer.weight, weight, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layer.bias, bias, atol=1e-4, rtol=1e-4)


def test_descent_agrees_with_the_closed_form():
    x, y, _, _ = known()
    y = y + 0.1 * torch.randn_like(y)
    closed, descended = ridge_map(x, y, 1e-4), descended_map(x, y, epochs=4000, lr=1e-3, seed=0)
    torch.testing.assert_close(descended(x), closed(x), atol=2e-3, rtol=0)
    assert ((descended(x) - y) ** 2).mean() <= 1.001 * ((closed(x) - y) ** 2).mean()


def test_a_penalty_shrinks_the_map_and_follows_the_scale_of_the_rows():
    x, y, _, _ = known()
    weak, strong = ridge_map(x, y, 1e-4), ridge_map(x, y, 10.0)
    assert strong.weight.norm() < 0.5 * weak.weight.norm()
