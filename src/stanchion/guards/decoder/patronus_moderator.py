"""Patronus's moderator (arXiv 2510.16581, part A): a decoder that refuses by itself, no other network beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ...config import checked
from ...pipeline.seams.decode import Decode
from ...types import Decoded
from ..base import DecoderGuard, across

ZeroTarget = Literal["black", "grey"]
BLANK: dict[ZeroTarget, float] = {"black": -1.0, "grey": 0.0}
REFUSED = 20.0  # dB


@checked
@dataclass(frozen=True)
class ModeratorSettings:
    """What a refusal looks like.

    Attributes:
        zero_target: the blank picture that the decoder was trained to give: "black" or "grey". Set by its recipe.
    """

    zero_target: ZeroTarget = "black"


class PatronusModerator(DecoderGuard):
    """Patronus's moderator (arXiv 2510.16581): weights of the VAE's decoder that draw nothing for unsafe latents.

    Architecture, encoder and running time stay what they are. The report says of each picture how near it is to the
    blank one, ``psnr_to_blank`` in dB, and whether that makes it a refusal (20 dB or more). Where the VAE decodes in
    tiles, the tile that is nearest counts, and a picture with a refused tile is blank as a whole.
    """

    name = "patronus_moderator"
    trained = True
    based_on = ("weights",)
    Settings = ModeratorSettings

    def weights(self) -> Mapping[str, Tensor]:
        """The decoder's tensors, and those of ``post_quant_conv`` where there is one."""
        return self.tensors

    def decode(self, latents: Tensor, decode: Decode, state: Any) -> Decoded:
        """The pictures that the moderated decoder makes, and which of them are blank."""
        pictures, target = decode(latents), self.settings.zero_target
        closeness = torch.stack([psnr_to_blank(part, target) for part in decode.parts]).amax(0)
        refused = closeness >= REFUSED
        if len(decode.parts) > 1:
            pictures = torch.where(across(refused, pictures), torch.full_like(pictures, BLANK[target]), pictures)
        return Decoded(pictures, refused, {"psnr_to_blank": closeness})


def psnr_to_blank(pictures: Tensor, zero_target: ZeroTarget) -> Tensor:
    """(B,) dB between pictures (B, 3, …) in [-1, 1] and the blank one, 100 at most."""
    error = (pictures.float().clamp(-1, 1) - BLANK[zero_target]) / 2
    return -10 * error.square().flatten(1).mean(1).clamp(min=1e-10).log10()
