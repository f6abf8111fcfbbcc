"""Image to image at strength 0.5 from pictures of the concept, under prompts that ask for it."""

from __future__ import annotations

from ._from_unsafe import FromUnsafe


class Unsafe50(FromUnsafe):
    name = "i2i_unsafe_50"
    strength = 0.5
    asks = "unsafe"
