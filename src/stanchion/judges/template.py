"""The third opinion: finds the world's own sprites by correlation. Nothing in it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..config import Positive, Share, checked
from ..reference import world
from ..types import Labels
from .base import Judge

if TYPE_CHECKING:
    from torch import Tensor

SIZES = (*range(21, 25), *range(30, 41))  # of objects in pairs, and alone
MOST_OBJECTS = 2
APART = 0.4  # of two objects' sizes together: nearer than that, the weaker one is the same thing seen twice
GREY, TONE, FADE = np.array([0.30, 0.59, 0.11]), np.array([1.07, 0.86, 0.62]), np.array([16, 10, 0]) / 255


class TemplateJudge(Judge):
    """Slides every sprite, in every size that the world draws, over a picture.

    The score of a sprite at a place is r exp(-(e / tolerance)²), with r the correlation (each colour less its own
    mean, so that a plain ground of the right colour is nothing) and e the root mean square error, both over the
    sprite's opaque pixels. At most two objects that don't overlap are found.
    Whether a picture is sepia is told by its colours alone; flat or ink by the artwork that fits best. Backgrounds
    are not looked at.

    Args:
        threshold: score in [0, 1] from which an object counts as found: bare backgrounds stay below, and blurred and
            shaken reconstructions of renders above.
        tolerance: error of colours in [0, 1] at which a perfect correlation counts e times less.
        sepia: the largest mean deviation of colours in [0, 1] from the tones of sepia.
    """

    name = "template"
    version = "1"

    @checked
    def __init__(self, threshold: Share = 0.35, tolerance: Positive = 0.25, sepia: Share = 0.08) -> None:
        self.threshold, self.tolerance, self.sepia = threshold, tolerance, sepia

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"threshold": self.threshold, "tolerance": self.tolerance, "sepia": self.sepia}

    def look(self, images: list[Image.Image]) -> list[Labels]:
        return [self._labels(image) for image in images]

    def _labels(self, image: Image.Image) -> Labels:
        pixels = np.asarray(image.resize((world.SIZE,) * 2, Image.Resampling.BOX), np.float32) / 255
        sepia = off_sepia(pixels) <= self.sepia
        spots = [spot for style in (("sepia",) if sepia else ("flat", "ink")) for spot in self._spots(pixels, style)]
        spots.sort(key=lambda spot: -spot.score)
        found: list[Spot] = []
        for spot in spots:
            free = all(spot.apart(other) for other in found)
            if spot.score >= self.threshold and free and len(found) < MOST_OBJECTS:
                found.append(spot)
        scores = {name: max(s.score for s in spots if s.name == name) for name in world.OBJECTS}
        scores |= {style: max((s.score for s in spots if s.style == style), default=0.0) for style in world.STYLES}
        names = tuple(name for name in world.OBJECTS if any(spot.name == name for spot in found))
        style = "sepia" if sepia else found[0].style if found else None
        return Labels(names, style, None, scores)

    def _spots(self, pixels: np.ndarray, style: str) -> list[Spot]:
        """Where each object of this artwork fits best."""
        templates = _templates(style)
        scores = templates.scores(pixels, self.tolerance).flatten(1)
        tops, places = (values.tolist() for values in scores.max(1))
        best: dict[str, Spot] = {}
        for (name, size), top, place in zip(templates.keys, tops, places, strict=True):
            if name not in best or top > best[name].score:
                y, x = divmod(place, world.SIZE)
                best[name] = Spot(max(0.0, top), name, style, x + size / 2, y + size / 2, size)
        return list(best.values())


@dataclass(frozen=True)
class Spot:
    """An object that may be there: its score, and its middle and size in pixels."""

    score: float
    name: str
    style: str
    x: float
    y: float
    size: int

    def apart(self, other: Spot) -> bool:
        """Whether both can be there: side by side, as the world places two things."""
        return abs(self.x - other.x) > APART * (self.size + other.size)


def off_sepia(pixels: np.ndarray) -> float:
    """Mean deviation of (H, W, 3) colours in [0, 1] from the nearest tones of sepia; 0 for a rendered one."""
    bright = np.array([0.0, 1.0])[:, None] * TONE + FADE
    along = (bright[1] - bright[0]) / np.linalg.norm(bright[1] - bright[0])
    away = pixels - bright[0]
    return float(np.linalg.norm(away - (away @ along)[..., None] * along, axis=-1).mean())


@dataclass(frozen=True)
class Templates:
    """T sprites of one artwork as spectra of kernels over 48×48 pixels, with what the scores need of each.

    ``weight`` (T, 1, 48, 25) sums to one over opaque pixels, ``weighted`` (T, 3, 48, 25) is it times the colours;
    ``mean`` (T, 3, 1, 1) and ``square`` (T, 1, 1) are weighted means of the colours and of the sum of squares.
    """

    keys: tuple[tuple[str, int], ...]
    weighted: Tensor
    weight: Tensor
    mean: Tensor
    square: Tensor
    fits: Tensor

    def scores(self, pixels: np.ndarray, tolerance: float) -> Tensor:
        """(T, 48, 48) scores in [-1, 1] with each sprite's corner at each place; 0 where it would stick out.

        A kernel that fits into the picture never wraps around, so a cyclic correlation of 48×48 is enough.
        """
        from torch import exp, from_numpy
        from torch.fft import irfft2, rfft2

        picture = from_numpy(pixels).permute(2, 0, 1)
        shape = picture.shape[1:]
        colours = rfft2(picture)
        cross = irfft2((colours * self.weighted.conj()).sum(1), s=shape)
        mean = irfft2(colours * self.weight.conj(), s=shape)
        square = irfft2(rfft2(picture.square().sum(0)) * self.weight[:, 0].conj(), s=shape)
        spread = (square - mean.square().sum(1)).clamp(min=3e-4) * (self.square - self.mean.square().sum(1))
        error = (square - 2 * cross + self.square).clamp(min=0) / 3
        correlation = (cross - (self.mean * mean).sum(1)) / spread.clamp(min=1e-6).sqrt()
        return correlation * exp(-error / tolerance**2) * self.fits


@cache
def _templates(style: str) -> Templates:
    import torch

    keys = tuple((name, size) for name in world.OBJECTS for size in SIZES)
    weight = torch.zeros(len(keys), 1, world.SIZE, world.SIZE)
    plain = torch.zeros(len(keys), 3, world.SIZE, world.SIZE)
    fits = torch.zeros(len(keys), world.SIZE, world.SIZE)
    for place, (name, size) in enumerate(keys):
        colour, alpha = (torch.from_numpy(values).permute(2, 0, 1) for values in _sprite(style, name, size))
        weight[place, :, :size, :size] = alpha**2 / (alpha**2).sum()  # where the ground shines through: counts less
        plain[place, :, :size, :size] = colour / alpha.clamp(min=1e-3)
        fits[place, : world.SIZE - size + 1, : world.SIZE - size + 1] = 1
    weighted = weight * plain
    mean, square = weighted.sum((2, 3), keepdim=True), (weighted * plain).sum((1, 2, 3))[:, None, None]
    return Templates(keys, torch.fft.rfft2(weighted), torch.fft.rfft2(weight), mean, square, fits)


def _sprite(style: str, name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Premultiplied colour in [0, 1] and alpha; sepia ones are toned as ``world.render`` tones a picture."""
    colour, alpha = world.sprite("ink" if style == "ink" else "flat", name, size)
    colour = colour / 255
    if style == "sepia":
        colour = np.minimum((colour @ GREY)[..., None] * TONE + alpha * FADE, alpha)
    return colour.astype(np.float32), alpha.astype(np.float32)
