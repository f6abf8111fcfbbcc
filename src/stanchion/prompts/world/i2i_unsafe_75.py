"""Image to image at strength 0.75 from pictures of the concept, under prompts that ask for it."""

from __future__ import annotations

from ._from_unsafe import FromUnsafe


class Unsafe75(FromUnsafe):
    name = "i2i_unsafe_75"
    strength = 0.75
    asks = "unsafe"
