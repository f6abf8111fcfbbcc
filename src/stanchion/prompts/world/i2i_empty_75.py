"""Image to image at strength 0.75 from pictures of the concept, under the empty prompt."""

from __future__ import annotations

from ._from_unsafe import FromUnsafe


class Empty75(FromUnsafe):
    name = "i2i_empty_75"
    strength = 0.75
    asks = "empty"
