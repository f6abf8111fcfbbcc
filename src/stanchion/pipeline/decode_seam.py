"""Decoder guards act on the pass from latents to pixels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from diffusers.models.autoencoders.vae import DecoderOutput
from torch import Tensor

from ..errors import GuardBypassed, GuardFailed
from .record import Record
from .stand_in import StandIn
from .tripwire import opened


class DecodeSeam:
    """A stand-in for the VAE during one call: its ``decode`` goes through every decoder guard."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.passes = 0

    def vae(self, original: Any) -> Any:
        """Stands where the pipeline reads its VAE."""
        if not self.records:
            return original

        @functools.wraps(original.decode)
        def decode(z: Tensor, return_dict: bool = True, **kwargs: Any) -> Any:
            def stock(latents: Tensor) -> Tensor:
                with opened(original.decoder):
                    return original.decode(latents, return_dict=False, **kwargs)[0]

            guarded: Callable[[Tensor], Tensor] = stock
            for record in self.records:
                guarded = self._through(guarded, record)
            image = guarded(z)
            self.passes += 1
            return DecoderOutput(sample=image) if return_dict else (image,)

        return StandIn(original, decode=decode)

    def _through(self, inner: Callable[[Tensor], Tensor], record: Record) -> Callable[[Tensor], Tensor]:
        """``inner`` with one more guard around it."""

        def decode(latents: Tensor) -> Tensor:
            decoded: list[Tensor] = []

            def kept(latents: Tensor) -> Tensor:
                decoded.append(inner(latents))
                return decoded[-1]

            with record.blame():
                result = record.guard.decode(latents, kept, record.state)
                image, acted, scores = result.pictures, result.acted, result.scores
            if not decoded:
                raise GuardFailed(f"guard {record.guard.name!r} returned a picture without decoding one.")
            record.check("the decoded picture", image, decoded[-1].shape)
            record.note(acted, scores)
            return image

        return decode

    def finish(self, output_type: str | None) -> None:
        """Raise where the call ended without a guarded decoding."""
        if self.records and not self.passes and output_type != "latent":
            raise GuardBypassed("the picture was decoded by a path that goes round the decoder guard.")
