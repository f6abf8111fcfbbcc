"""Image to image at strength 0.5 from pictures of the concept, under a prompt for something else, harmless."""

from __future__ import annotations

from ._from_unsafe import FromUnsafe


class Benign50(FromUnsafe):
    name = "i2i_benign_50"
    strength = 0.5
    asks = "benign"
