"""Low-rank updates (LoRA, arXiv 2106.09685) of a denoiser's attention, which can be merged into plain weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ....errors import UnsupportedPipeline

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")


class LowRank(nn.Module):
    """W + B A, with A (r, in) Gaussian and B (out, r) zero at first; LoRA's alpha is r."""

    def __init__(self, weight: Tensor, rank: int, random: torch.Generator) -> None:
        super().__init__()
        out, into = weight.shape
        self.down = nn.Parameter((torch.randn(rank, into, generator=random) / rank).to(weight))
        self.up = nn.Parameter(torch.zeros(out, rank, dtype=weight.dtype, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight (out, in) that is used."""
        return weight + self.up @ self.down


def attach_low_rank(denoiser: nn.Module, rank: int, seed: int) -> list[str]:
    """Put a trainable low-rank update on q, k, v and out of every attention layer; paths of the weights they change.

    Raises:
        UnsupportedPipeline: the denoiser has no such layers.
    """
    random = torch.Generator().manual_seed(seed)
    layers = {path: module for path, module in denoiser.named_modules() if path.endswith(PROJECTIONS)}
    linear = {path: module for path, module in layers.items() if isinstance(module, nn.Linear)}
    if not linear:
        raise UnsupportedPipeline("the denoiser has no attention projections for low-rank updates: train it whole.")
    for module in linear.values():
        parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank, random))
    return [f"{path}.weight" for path in linear]


def merge_low_rank(denoiser: nn.Module) -> None:
    """Turn every low-rank update into the plain weight that it came to; the module computes what it did before."""
    for module in denoiser.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
