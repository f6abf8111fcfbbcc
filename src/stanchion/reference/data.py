"""Batches of rendered pictures: tensors, captions and labels, all from an explicit generator."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from . import world
from .judge import BACKGROUNDS, OBJECTS, STYLES
from .words import spoken


def scenes(
    rng: np.random.Generator, count: int, names: tuple[str, ...] = OBJECTS, styled: float = 0.25
) -> list[world.Scene]:
    """``count`` random scenes of ``names``."""
    return [world.sample(rng, names, styled) for _ in range(count)]


def pictures(batch: list[world.Scene], rng: np.random.Generator) -> Tensor:
    """The scenes as (B, 3, 48, 48) float32 in [-1, 1]."""
    return to_tensor(np.stack([world.render(scene, rng) for scene in batch]))


def to_tensor(images: np.ndarray) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous()


def captions(batch: list[world.Scene], rng: np.random.Generator) -> list[str]:
    """A random caption of each scene."""
    return [spoken(scene, rng) for scene in batch]


def labels(batch: list[world.Scene]) -> tuple[Tensor, Tensor, Tensor]:
    """Objects (B, 32) multi-hot float, style (B,) and background (B,) class indices."""
    objects = torch.zeros(len(batch), len(OBJECTS))
    for row, scene in enumerate(batch):
        for name in scene.objects:
            objects[row, OBJECTS.index(name)] = 1
    style = torch.tensor([STYLES.index(scene.style) for scene in batch])
    return objects, style, torch.tensor([BACKGROUNDS.index(scene.background) for scene in batch])
