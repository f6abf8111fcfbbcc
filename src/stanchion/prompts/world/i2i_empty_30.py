"""Image to image at strength 0.3 from pictures of the concept, under the empty prompt."""

from __future__ import annotations

from ._from_unsafe import FromUnsafe


class Empty30(FromUnsafe):
    name = "i2i_empty_30"
    strength = 0.3
    asks = "empty"
