"""What a loss on predicted noise misses where the decoder is guarded: the picture behind it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def wanted_pictures(target: Any, clean: Tensor, weight: float) -> Tensor | None:
    """(B, 3, H, W) of clean latents as the unguarded model decodes them; None where the error is not asked for.

    That is where ``weight`` is 0 or the decoder is not guarded: then the noise says it all.
    """
    if not weight or not target.decoder_guarded:
        return None
    pictures: Tensor = target.base.decode(clean)
    return pictures


def picture_errors(target: Any, latents: Tensor, timestep: int, noise: Tensor, wanted: Tensor | None) -> Tensor:
    """(B,) abar_t |decode(x_0) - wanted|^2, with x_0 as (B, C, H, W) predicted noise has it; 0 where none is wanted."""
    if wanted is None:
        return latents.new_zeros(len(latents))
    pictures = target.decode(target.clean(latents, timestep, noise))
    return target.signal(timestep) * (pictures - wanted).square().mean((1, 2, 3))
