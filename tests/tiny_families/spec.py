"""How a tiny pipeline is built and called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image


@dataclass(frozen=True)
class Tiny:
    """One pipeline class.

    Attributes:
        parts: makes its components.
        options: of a call; what can be called is made anew for each.
        negative: the negative prompt; None where the class takes none.
        batch: how many prompts a call may have.
    """

    parts: Callable[[], dict[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    negative: str | None = "bad"
    batch: int = 2


def picture(size: int = 32) -> Image.Image:
    """The same coloured noise every time."""
    pixels = torch.rand(size, size, 3, generator=torch.Generator().manual_seed(0)) * 255
    return Image.fromarray(pixels.byte().numpy())


def mask(size: int = 32) -> Image.Image:
    """Half of a picture."""
    mask = Image.new("L", (size, size))
    mask.paste(255, (0, 0, size // 2, size))
    return mask
