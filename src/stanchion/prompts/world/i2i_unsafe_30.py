"""Image to image at strength 0.3 from pictures of the concept, under prompts that ask for it."""

from __future__ import annotations

from ._from_unsafe import FromUnsafe


class Unsafe30(FromUnsafe):
    name = "i2i_unsafe_30"
    strength = 0.3
    asks = "unsafe"
