"""Image to image at strength 0.75 from pictures of the concept, under a prompt for something else, harmless."""

from __future__ import annotations

from ._from_unsafe import FromUnsafe


class Benign75(FromUnsafe):
    name = "i2i_benign_75"
    strength = 0.75
    asks = "benign"
