"""The judge of the reference world, and the reward model: two readers of pictures that share no weights or habits.

Both say which objects, style and background they see, with scores. The *judge* measures; the *reward model* trains
guards and captions pictures. They differ in architecture, resolution and augmentation, because both see the same
few sprites: a guard that fools its reward has not thereby fooled the judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from . import world

WEIGHTS = Path(__file__).parent / "weights"
OBJECTS, STYLES, BACKGROUNDS = tuple(world.OBJECTS), tuple(world.STYLES), tuple(world.BACKGROUNDS)


class Reader(ModelMixin, ConfigMixin):
    """A network from pictures to logits of objects (B, 32), style (B, 3) and background (B, 7)."""

    config_name = "config.json"
    resolution: ClassVar[int]

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1] to (B, D)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of (B, 3, H, W) pictures in [-1, 1], of any size; differentiable."""
        if images.shape[-1] != self.resolution:
            images = F.interpolate(images, size=(self.resolution,) * 2, mode="bilinear", antialias=True)
        found = self.head(self.features(images))
        return found.split((len(OBJECTS), len(STYLES), len(BACKGROUNDS)), dim=1)

    @torch.no_grad()
    def predict(self, images: Sequence[Image.Image] | np.ndarray) -> list[dict[str, dict[str, float]]]:
        """Scores in [0, 1] of every object, style and background for each picture (PIL, or uint8 H×W×3)."""
        if not len(images):
            return []
        size = (world.SIZE, world.SIZE)
        arrays = [
            np.asarray(Image.fromarray(np.asarray(image)).convert("RGB").resize(size, Image.Resampling.BOX))
            for image in images
        ]
        batch = torch.from_numpy(np.stack(arrays)).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        objects, style, background = self(batch)
        scores = {
            "objects": (OBJECTS, objects.sigmoid()),
            "style": (STYLES, style.softmax(1)),
            "background": (BACKGROUNDS, background.softmax(1)),
        }
        return [
            {kind: dict(zip(names, values[row].tolist(), strict=True)) for kind, (names, values) in scores.items()}
            for row in range(len(arrays))
        ]


class Residual(nn.Module):
    """Two 3×3 convolutions beside a shortcut, then half the resolution."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, width), nn.Conv2d(width, wider, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(8, wider), nn.Conv2d(wider, wider, 3, padding=1)
        self.shortcut = nn.Conv2d(width, wider, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return F.avg_pool2d(y + self.shortcut(x), 2)


class JudgeNetwork(Reader):
    """The judge: a residual network at 48 pixels that reads a 6×6 map by its mean and its maximum."""

    resolution = 48

    @register_to_config
    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(a, b) for a, b in pairwise(widths)))
        self.norm = nn.GroupNorm(8, widths[-1])
        self.head = nn.Sequential(
            nn.Linear(2 * widths[-1], 256), nn.SiLU(), nn.Linear(256, len(OBJECTS) + len(STYLES) + len(BACKGROUNDS))
        )

    def features(self, images: Tensor) -> Tensor:
        x = F.silu(self.norm(self.blocks(self.stem(images))))
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


class Mixing(nn.Module):
    """A depthwise 5×5 convolution and two pointwise ones (after ConvNeXt, arXiv 2201.03545)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 5, padding=2, groups=width), nn.GroupNorm(1, width)
        self.up, self.down = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(3 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(self.norm(self.depthwise(x)))))


class RewardNetwork(Reader):
    """The reward model: depthwise blocks on 4-pixel patches at 40 pixels, read by learned attention pooling."""

    resolution = 40

    @register_to_config
    def __init__(self, width: int = 96, depth: int = 5) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.blocks = nn.Sequential(*(Mixing(width) for _ in range(depth)))
        self.where = nn.Conv2d(width, 4, 1)
        self.head = nn.Sequential(
            nn.Linear(4 * width, 192), nn.GELU(), nn.Linear(192, len(OBJECTS) + len(STYLES) + len(BACKGROUNDS))
        )

    def features(self, images: Tensor) -> Tensor:
        x = self.blocks(self.patches(images))
        weights = self.where(x).flatten(2).softmax(-1)
        return torch.einsum("bqn,bcn->bqc", weights, x.flatten(2)).flatten(1)

    @torch.no_grad()
    def describe(self, images: Sequence[Image.Image] | np.ndarray) -> list[str]:
        """A caption of each picture: the objects it sees, or "a photo" where it sees none."""
        captions = []
        for scores in self.predict(images):
            found = [name for name, score in scores["objects"].items() if score >= 0.5][:2]
            captions.append(world.caption(tuple(found)) if found else "a photo")
        return captions


def load_judge(folder: Path = WEIGHTS / "judge") -> JudgeNetwork:
    """The shipped judge, in evaluation mode."""
    return _load(JudgeNetwork, folder)


def load_reward(folder: Path = WEIGHTS / "reward") -> RewardNetwork:
    """The shipped reward model, in evaluation mode."""
    return _load(RewardNetwork, folder)


def _load(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, use_safetensors=True).float().eval()
