"""The feature network: what FID, KID and perceptual losses compare. It judges nothing and rewards nothing.

It learns by a contrastive loss (arXiv 2002.05709, equation 1) to tell whether two pictures show the same scene, drawn
anew, *in the same state*: each scene of a batch comes twice, blurred and noisy to different degrees. So its features
keep apart what is shown and how cleanly, and no label of an object is ever predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from ..learning.fit import FitSchedule, fit
from . import data, world
from .judge import WEIGHTS
from .training.readers import blur

TEMPERATURE = 0.1
BLURS, NOISES = (0.0, 0.7, 1.4), (0.0, 0.1, 0.25)  # sigma in pixels; sigma of values in [-1, 1]
STATES = len(BLURS) * len(NOISES)
GROUPS = 4  # of a batch, each with its own crop


class FeatureNetwork(ModelMixin, ConfigMixin):
    """Plain 3×3 convolutions at full, half, quarter and eighth resolution."""

    config_name = "config.json"

    @register_to_config
    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        pairs = list(pairwise((3, *widths)))
        self.levels = nn.ModuleList(_level(a, b, 1 if place == 0 else 2) for place, (a, b) in enumerate(pairs))
        self.likeness = nn.Sequential(nn.Linear(widths[-1], widths[-1]), nn.SiLU(), nn.Linear(widths[-1], 64))

    def _activations(self, images: Tensor) -> list[Tensor]:
        if images.shape[-1] != world.SIZE:
            images = F.interpolate(images, size=(world.SIZE,) * 2, mode="bilinear", antialias=True)
        activations = []
        for level in self.levels:
            images = level(images)
            activations.append(images)
        return activations

    def maps(self, images: Tensor) -> list[Tensor]:
        """Activations of each level, (B, c, h, w), of unit length over the channels; differentiable.

        ``images`` are (B, 3, H, W) in [-1, 1], of any size; they are looked at in 48×48.
        """
        return [F.normalize(level, dim=1, eps=1e-6) for level in self._activations(images)]

    def features(self, images: Tensor) -> Tensor:
        """(B, D) for FID and KID: the last level's mean over places; differentiable. ``images`` as for ``maps``."""
        return self._activations(images)[-1].mean((2, 3))

    def distance(self, images: Tensor, others: Tensor) -> Tensor:
        """(B,) perceptual distances, 0 for equal pictures; differentiable. (LPIPS, arXiv 1801.03924, all weights 1.)"""
        pairs = zip(self.maps(images), self.maps(others), strict=True)
        return sum(((a - b).square().sum(1).mean((1, 2)) for a, b in pairs), start=images.new_zeros(len(images)))

    def forward(self, images: Tensor) -> Tensor:
        """What training compares: (B, 64) of unit length, alike for the same scene in the same state."""
        return F.normalize(self.likeness(self.features(images)), dim=1)


def _level(width: int, wider: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, wider, 3, stride, 1),
        nn.GroupNorm(4, wider),
        nn.ReLU(),
        nn.Conv2d(wider, wider, 3, 1, 1),
        nn.GroupNorm(4, wider),
        nn.ReLU(),
    )


def load_features(folder: Path = WEIGHTS / "features") -> FeatureNetwork:
    """The shipped feature network, in evaluation mode."""
    return FeatureNetwork.from_pretrained(folder, use_safetensors=True).float().eval()


def train_features(schedule: FitSchedule, folder: Path, *, seed: int) -> FeatureNetwork:
    """Each row is drawn twice; ``schedule.batch`` counts rows: half as many scenes, each in two states."""
    torch.manual_seed(seed)
    network = FeatureNetwork().to(memory_format=torch.channels_last)

    def loss(step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        scenes = data.scenes(rng, schedule.batch // 2, styled=0.4)
        first = rng.integers(STATES, size=len(scenes))
        states = np.concatenate([first, (first + rng.integers(1, STATES, len(scenes))) % STATES])
        drawings = [spoil(data.pictures(2 * scenes, rng), states, rng) for _ in range(2)]
        return {"loss": contrastive(network(torch.cat(drawings)), list(zip(2 * scenes, states, strict=True)))}

    return fit(network, loss, schedule, folder, seed=seed)


def contrastive(likeness: Tensor, rows: Sequence[object]) -> Tensor:
    """NT-Xent over (2 N, D): row i belongs to row i + N; what equals it by chance counts as neither."""
    count = len(rows)
    equal = torch.tensor([[a == b for b in rows] for a in rows]).tile(2, 2)
    partner = torch.arange(2 * count).roll(count)
    equal[torch.arange(2 * count), partner] = False
    scores = (likeness @ likeness.T / TEMPERATURE).masked_fill(equal, float("-inf"))
    return F.cross_entropy(scores, partner)


def spoil(images: Tensor, states: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Cropped and tinted at random, then blurred and noisy as ``states`` (B,) in 0…8 say."""
    images = torch.cat([_crop(group, rng) for group in images.tensor_split(GROUPS)])
    images = images + 0.05 * torch.randn(len(images), 3, 1, 1)
    sharpness, grain = np.divmod(states, len(NOISES))
    for place, sigma in enumerate(BLURS):
        if sigma and (rows := torch.from_numpy(sharpness == place)).any():
            images[rows] = blur(images[rows], sigma)
    sigmas = torch.tensor(NOISES)[torch.from_numpy(grain)]
    return images + sigmas[:, None, None, None] * torch.randn_like(images)


def _crop(images: Tensor, rng: np.random.Generator) -> Tensor:
    """A window of 40 to 48 pixels, enlarged to 48."""
    side = int(rng.integers(40, world.SIZE + 1))
    y, x = rng.integers(0, world.SIZE - side + 1, 2)
    window = images[:, :, y : y + side, x : x + side]
    return F.interpolate(window, size=(world.SIZE,) * 2, mode="bilinear", antialias=True) if len(window) else window
