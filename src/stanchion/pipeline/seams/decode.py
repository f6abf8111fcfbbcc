"""Decoder guards act on the pass from latents to pixels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import Tensor

from ...errors import GuardBypassed, GuardFailed
from ..attach.guard_record import Record
from ..attach.guarded_class import Proxy
from ..proof.tripwire import opened


class Decode(Protocol):
    """What makes pictures for a decoder guard: latents as the VAE takes them to pictures (B, 3, H, W) in [-1, 1]."""

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """What the decoder itself gave in the last call, (B, 3, h, w) each: the pictures, or their tiles."""
        ...

    @property
    def vae(self) -> Any:
        """Whose decoder that is."""
        ...

    def by(self, vae: Any) -> Decode:
        """The same through another VAE, and past every other guard."""
        ...

    def __call__(self, latents: Tensor) -> Tensor: ...


class DecodeSeam:
    """A proxy for the VAE during one call: its ``decode`` goes through every decoder guard.

    Where ``weights`` were replaced nothing else looks at what they made, so here it must be finite.
    """

    def __init__(self, records: list[Record], weights: Sequence[Record] = ()) -> None:
        self.records, self.weights = records, weights
        self.passes = 0

    def vae(self, original: Any) -> Any:
        """Stands where the pipeline reads its VAE."""
        if original is None or not (self.records or self.weights):
            return original

        @functools.wraps(original.decode)
        def decode(z: Tensor, return_dict: bool = True, **kwargs: Any) -> Any:
            for record in self.weights:
                record.check("what is decoded", z, z.shape)
            guarded: _Stock | _Guarded = _Stock(original, kwargs)
            for record in self.records:
                guarded = _Guarded(guarded, record)
            image = guarded(z)
            for record in self.weights:
                record.check("the picture", image, image.shape)
            self.passes += 1
            return DecoderOutput(sample=image) if return_dict else (image,)

        return Proxy(original, decode=decode)

    def finish(self, output_type: str | None) -> None:
        """Raise where the call ended without a guarded decoding."""
        if self.records and not self.passes and output_type != "latent":
            raise GuardBypassed("the picture was decoded by a path that goes round the decoder guard.")


class _Stock:
    """The VAE's own ``decode``: see ``Decode``. ``result`` is what it gave last."""

    def __init__(self, vae: Any, options: dict[str, Any]) -> None:
        self.vae, self.options = vae, options
        self.parts: tuple[Tensor, ...] = ()
        self.result: Tensor | None = None

    def by(self, vae: Any) -> Decode:
        return _Stock(vae, self.options)

    def __call__(self, latents: Tensor) -> Tensor:
        decoder, outputs = self.vae.decoder, list[Tensor]()
        handle = decoder.register_forward_hook(lambda module, args, output: outputs.append(output))
        try:
            with opened(decoder):
                self.result = self.vae.decode(latents, return_dict=False, **self.options)[0]
        finally:
            handle.remove()
        if not outputs:
            raise GuardBypassed("pipe.vae.decode made a picture without the VAE's own decoder, which is guarded.")
        self.parts = _by_picture(outputs, len(latents))
        return self.result


class _Guarded:
    """A ``Decode`` with one more guard around it."""

    def __init__(self, inner: _Stock | _Guarded, record: Record) -> None:
        self.inner, self.record = inner, record
        self.result: Tensor | None = None

    @property
    def parts(self) -> tuple[Tensor, ...]:
        return self.inner.parts

    @property
    def vae(self) -> Any:
        return self.inner.vae

    def by(self, vae: Any) -> Decode:
        return self.inner.by(vae)

    def __call__(self, latents: Tensor) -> Tensor:
        inner, record = self.inner, self.record
        inner.result = None
        with record.blame():
            given: Decode = inner
            decoded = record.guard.decode(latents, given, record.state)
            image, acted, scores = decoded.pictures, decoded.acted, decoded.scores
        if inner.result is None:
            raise GuardFailed(f"guard {record.guard.name!r} returned a picture without decoding one.")
        record.check("the decoded picture", image, inner.result.shape)
        record.note(acted, scores)
        self.result = image
        return image


def _by_picture(outputs: list[Tensor], batch: int) -> tuple[Tensor, ...]:
    """The decoder's outputs, each with a row a picture: tiles come one by one, and slicing takes picture by picture."""
    if len(outputs[0]) == batch:
        return tuple(outputs)
    each = len(outputs) // batch
    return tuple(torch.cat(outputs[place::each]) for place in range(each))
