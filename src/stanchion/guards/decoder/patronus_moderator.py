"""Patronus's moderator (arXiv 2510.16581, part A): a decoder that refuses by itself, no other network beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ...config import Positive, checked
from ...errors import ArtefactError
from ...pipeline.model.base_weights import belongs
from ...pipeline.seams.decode import Decode
from ...pipeline.straight_through import straight_through
from ...types import Decoded
from ..base import DecoderGuard, across

ZeroTarget = Literal["black", "grey"]
BLANK: dict[ZeroTarget, float] = {"black": -1.0, "grey": 0.0}
REFUSED = 20.0  # dB
HIGHEST = 100.0  # dB; of equal pictures


@checked
@dataclass(frozen=True)
class ModeratorSettings:
    """What a refusal looks like, and what it is told by.

    Attributes:
        zero_target: the blank picture that the decoder was trained to give: "black" or "grey". Set by its recipe.
        compare: "blank" hands over what the moderated decoder makes; "stock" decodes with the model's own as well, and
            hands that picture over, bit for bit, where the two agree.
        apart: PSNR in dB below which the two disagree, and the picture is refused.
    """

    zero_target: ZeroTarget = "black"
    compare: Literal["blank", "stock"] = "blank"
    apart: Positive = 18.0


class PatronusModerator(DecoderGuard):
    """Patronus's moderator (arXiv 2510.16581): weights of the VAE's decoder that draw nothing for unsafe latents.

    Architecture, encoder and running time stay what they are. The report says of each picture how near it is to the
    blank one, ``psnr_to_blank`` in dB, and whether that makes it a refusal (20 dB or more). Where the VAE decodes in
    tiles, the tile that is nearest counts, and a picture with a refused tile is blank as a whole.

    With ``compare="stock"`` (ours, for whoever hosts a model) nothing is replaced: the weights are those of a second
    decoder beside the first, and the report says how near the two pictures are, ``psnr_to_stock``. The tile where they
    are furthest apart counts. Harmless pictures lose nothing then, for one more decoding.
    """

    name = "patronus_moderator"
    trained = True
    based_on = ("weights",)
    Settings = ModeratorSettings
    settings: ModeratorSettings

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self._beside: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()

    def weights(self) -> Mapping[str, Tensor]:
        """The decoder's tensors, and those of ``post_quant_conv`` where there is one; none where they stand beside."""
        return self.tensors if self.settings.compare == "blank" else {}

    def decode(self, latents: Tensor, decode: Decode, state: Any) -> Decoded:
        """The pictures, and which of them are blank.

        Raises:
            ArtefactError: the guard was made for another decoder.
        """
        if self.settings.compare == "stock":
            return self._compared(latents, decode)
        pictures, target = decode(latents), self.settings.zero_target
        closeness = torch.stack([psnr_to_blank(part, target) for part in decode.parts]).amax(0)
        refused = closeness >= REFUSED
        if len(decode.parts) > 1:
            pictures = torch.where(across(refused, pictures), torch.full_like(pictures, BLANK[target]), pictures)
        return Decoded(pictures, refused, {"psnr_to_blank": closeness})

    def _compared(self, latents: Tensor, decode: Decode) -> Decoded:
        """The model's own pictures where the moderated decoder agrees with them, and blank ones elsewhere."""
        pictures, moderated = decode(latents), decode.by(self._decoder(decode.vae))
        moderated(latents)
        pairs = zip(moderated.parts, decode.parts, strict=True)
        closeness = torch.stack([psnr(own, stock) for own, stock in pairs]).amin(0)
        refused = ~(closeness >= self.settings.apart)  # one that is no number refuses as well
        blank = torch.full_like(pictures, BLANK[self.settings.zero_target])
        chosen = torch.where(across(refused, pictures), blank, pictures)
        chosen = straight_through(chosen, -closeness / REFUSED, blank - pictures)
        return Decoded(chosen, refused, {"psnr_to_stock": closeness})

    def _decoder(self, vae: Any) -> Any:
        """A VAE that decodes with the guard's weights and as the given one does; made once for it, and kept."""
        if vae not in self._beside:
            own = {name.removeprefix("vae."): value for name, value in self.tensors.items()}
            held = dict(vae.named_parameters())
            replaced = {f"vae.{name}": held[name] for name in own if name in held}
            if len(replaced) < len(own) or not belongs(replaced, self.base["weights"]):
                raise ArtefactError("patronus_moderator was made for another decoder than this one's; train it again.")
            with torch.device("meta"):
                other = type(vae).from_config(vae.config)
            other.encoder = other.quant_conv = None
            rest = {name: held[name].detach() for name in other.state_dict() if name not in own}
            other.load_state_dict({**rest, **own}, assign=True)
            self._beside[vae] = other.requires_grad_(False).eval()
        other = self._beside[vae]
        for name, value in vars(vae).items():
            if isinstance(value, bool | int | float) and name != "training":  # tiles, slices
                setattr(other, name, value)
        return other.to(vae.device, vae.dtype)


def psnr_to_blank(pictures: Tensor, zero_target: ZeroTarget) -> Tensor:
    """(B,) dB between pictures (B, 3, …) in [-1, 1] and the blank one, 100 at most."""
    return psnr(pictures, torch.full_like(pictures, BLANK[zero_target]))


def psnr(pictures: Tensor, others: Tensor) -> Tensor:
    """(B,) dB between pictures (B, 3, …) and others, both cut to [-1, 1]; 100 at most."""
    error = (pictures.float().clamp(-1, 1) - others.float().clamp(-1, 1)) / 2
    return -10 * error.square().flatten(1).mean(1).clamp(min=10 ** (-HIGHEST / 10)).log10()
