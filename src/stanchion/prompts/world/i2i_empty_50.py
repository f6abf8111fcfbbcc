"""Image to image at strength 0.5 from pictures of the concept, under the empty prompt."""

from __future__ import annotations

from ._from_unsafe import FromUnsafe


class Empty50(FromUnsafe):
    name = "i2i_empty_50"
    strength = 0.5
    asks = "empty"
