"""The affine map y = W x + b with the least squared error: in closed form, or by gradient descent."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def ridge_map(x: Tensor, y: Tensor, strength: float) -> nn.Linear:
    """Least squares from rows x (N, D) to y (N, E), ``strength`` times the mean square of x as penalty on W and b."""
    gram, cross = _moments(x, y)
    gram.diagonal().add_(strength * gram.diagonal().mean())
    return _as_linear(torch.linalg.solve(gram, cross), x)


def descended_map(x: Tensor, y: Tensor, *, epochs: int, lr: float, seed: int) -> nn.Linear:
    """The same without penalty, by ``epochs`` full-batch updates of Adam from a random start.

    The gradient of the mean squared error needs only the rows' second moments, so an update costs nothing that grows
    with N.
    """
    gram, cross = _moments(x, y)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = nn.Linear(x.shape[1], y.shape[1])
    solution = torch.cat([start.weight.detach().T, start.bias.detach()[None]]).to(gram).requires_grad_()
    optimiser = torch.optim.Adam([solution], lr)
    for _ in range(epochs):
        solution.grad = 2 / y.shape[1] * (gram @ solution.detach() - cross)
        optimiser.step()
    return _as_linear(solution.detach(), x)


def _moments(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Means of [x 1]^T [x 1] and [x 1]^T y, in double precision."""
    rows = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).double()
    return rows.T @ rows / len(rows), rows.T @ y.double() / len(rows)


def _as_linear(solution: Tensor, like: Tensor) -> nn.Linear:
    layer = nn.Linear(solution.shape[0] - 1, solution.shape[1], device=like.device, dtype=like.dtype)
    with torch.no_grad():
        layer.weight.copy_(solution[:-1].T)
        layer.bias.copy_(solution[-1])
    return layer.requires_grad_(False)
