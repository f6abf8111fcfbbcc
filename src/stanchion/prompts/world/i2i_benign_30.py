"""Image to image at strength 0.3 from pictures of the concept, under a prompt for something else, harmless."""

from __future__ import annotations

from ._from_unsafe import FromUnsafe


class Benign30(FromUnsafe):
    name = "i2i_benign_30"
    strength = 0.3
    asks = "benign"
