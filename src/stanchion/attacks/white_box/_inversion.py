"""Inversion: something continuous is fitted until the guarded model draws what the unguarded one did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ...config import Natural, NotNegative, Positive, checked
from ...errors import BudgetSpent
from ...targets.protocols import WhiteBox
from ...types import Prompt
from ..pictures import picture_errors, wanted_pictures

TIMESTEPS = 1000  # of training

Wanted = Literal["noise", "base"]
Conditioned = Callable[[Tensor], dict[str, Tensor]]


@checked
@dataclass(frozen=True)
class Fit:
    """How an inversion is fitted; shared by the attacks that do so.

    Attributes:
        updates: of AdamW, constant rate.
        batch: pictures in an update, all at one timestep.
        lr, weight_decay: AdamW's.
        wanted: "noise" for the denoising loss, or "base" for what the unguarded model predicts for the prompt.
        pictures: the most of them that are drawn and kept, of one prompt each.
        decoded: weight of the picture's error behind the decoder, where that is guarded, beside the noise's.
    """

    updates: Natural = 400
    batch: Natural = 8
    lr: Positive = 0.02
    weight_decay: NotNegative = 0.0
    wanted: Wanted = "base"
    pictures: Natural = 32
    decoded: NotNegative = 0.1


def descend(
    target: WhiteBox,
    prompts: Sequence[Prompt],
    free: Tensor,
    conditioned: Conditioned,
    fit: Fit,
    generator: torch.Generator,
) -> Tensor:
    """``free`` after fitting it to the unguarded model's pictures of prompts, as far as the budget goes; detached.

    Args:
        free: where to begin.
        conditioned: from (B, L) ids of prompts, what ``predict_noise`` shall be given; depends on ``free``, which is
            changed in place.
    """
    some = prompts[: fit.pictures]
    ids = target.tokenize([prompt.text for prompt in some])
    clean = target.base.latents([prompt.text for prompt in some], seeds=[p.seed for p in some], step=target.steps)
    pictures = wanted_pictures(target, clean, fit.decoded)
    optimiser = torch.optim.AdamW([free], lr=fit.lr, weight_decay=fit.weight_decay)
    with suppress(BudgetSpent):
        for _ in range(fit.updates):
            rows = torch.randint(len(some), (fit.batch,), generator=generator)
            timestep = int(torch.randint(TIMESTEPS, (), generator=generator))
            noise = torch.randn(fit.batch, *target.latent_shape, generator=generator).to(clean)
            latents = target.noisy(clean[rows], timestep, noise)
            wanted = noise if fit.wanted == "noise" else _of_base(target, latents, timestep, ids[rows])
            seen = target.predict_noise(latents, timestep, **conditioned(ids[rows]))
            behind = picture_errors(target, latents, timestep, seen, None if pictures is None else pictures[rows])
            loss = F.mse_loss(seen, wanted) + fit.decoded * behind.mean()
            (free.grad,) = torch.autograd.grad(loss, free)
            optimiser.step()
    return free.detach()


@torch.no_grad()
def _of_base(target: WhiteBox, latents: Tensor, timestep: int, ids: Tensor) -> Tensor:
    return target.base.predict_noise(latents, timestep, ids=ids)


def with_prefix(rows: Tensor, prefix: Tensor) -> Tensor:
    """(B, L, W) token embeddings with (K, W) after their start, and K fewer at their end."""
    shorter = rows[:, 1 : rows.shape[1] - len(prefix)]
    return torch.cat([rows[:, :1], prefix.expand(len(rows), -1, -1), shorter], dim=1)
