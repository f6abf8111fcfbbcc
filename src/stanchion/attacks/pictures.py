"""What a loss asks of pictures: the unguarded model's own latents, and the error behind a guarded decoder."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UnsupportedPipeline
from ..targets.protocols import WhiteBox
from ..types import Prompt


def drawn_latents(target: WhiteBox, prompt: Prompt) -> Tensor:
    """(1, C, H, W): latents of the picture that the unguarded model draws of the prompt, with the prompt's seed.

    Raises:
        UnsupportedPipeline: it draws none.
    """
    (picture,) = target.base.generate([prompt.text], seeds=[prompt.seed])
    if picture is None:
        raise UnsupportedPipeline(f"the unguarded model drew no picture of {prompt.text!r}: take out its checker.")
    return target.encode_pictures([picture])


@torch.no_grad()
def wanted_pictures(target: WhiteBox, clean: Tensor, weight: float) -> Tensor | None:
    """(B, 3, H, W) of clean latents as the unguarded model decodes them; None where the error is not asked for.

    That is where ``weight`` is 0 or the decoder is not guarded: then the noise says it all.
    """
    if not weight or not target.decoder_guarded:
        return None
    pictures: Tensor = target.base.decode(clean)
    return pictures


def picture_errors(target: WhiteBox, latents: Tensor, timestep: int, noise: Tensor, wanted: Tensor | None) -> Tensor:
    """(B,) abar_t |decode(x_0) - wanted|^2, with x_0 as (B, C, H, W) predicted noise has it; 0 where none is wanted."""
    if wanted is None:
        return latents.new_zeros(len(latents))
    pictures = target.decode(target.clean(latents, timestep, noise))
    return target.alpha_bar(timestep) * (pictures - wanted).square().mean((1, 2, 3))
