"""Low-rank adapters (arXiv 2106.09685): W x becomes W x + B A x, and only A and B are trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def adapted(layers: Mapping[str, nn.Module], rank: int, generator: torch.Generator) -> Iterator[list[Tensor]]:
    """The linear layers with an adapter each, and the adapters' A (rank, in) and B (out, rank).

    A is Gaussian of deviation 1 / rank and B zero, as is usual for diffusion models; alpha equals the rank.
    """
    parameters, handles = [], []
    for layer in layers.values():
        weight = layer.weight
        down = torch.randn(rank, weight.shape[1], generator=generator).div_(rank).to(weight).requires_grad_()
        up = torch.zeros(weight.shape[0], rank).to(weight).requires_grad_()
        parameters += [down, up]

        def add(
            module: nn.Module, args: tuple[Tensor, ...], out: Tensor, down: Tensor = down, up: Tensor = up
        ) -> Tensor:
            return out + args[0] @ down.T @ up.T

        handles.append(layer.register_forward_hook(add))
    try:
        yield parameters
    finally:
        for handle in handles:
            handle.remove()
