"""Pictures as features of the shipped network, for the distances that compare them. Heavy imports happen when used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

import numpy as np
from PIL import Image

from ..files.pictures import read_picture
from ..types import Attempt, Prompt, Unscored
from .base import Metric
from .intervals import jackknife

KEPT = 2**14  # features that FID and KID share, 1 KiB each
STREAM = 2  # beside the prompt's seed: 0 is the noise of the picture, 1 the start of image to image


@cache
def network() -> Any:
    """The feature network: it judges nothing, and nothing is trained on it."""
    from ..reference.features import load_features

    return load_features()


@cache
def identity() -> str:
    """The network's name, and the first digits of the SHA-256 of its weights."""
    from ..reference.judge import WEIGHTS

    weights = WEIGHTS / "features" / "diffusion_pytorch_model.safetensors"
    return f"features {hashlib.sha256(weights.read_bytes()).hexdigest()[:12]}"


def tensor(image: Image.Image) -> Any:
    """(1, 3, H, W) in [-1, 1]."""
    from ..reference.data import to_tensor

    return to_tensor(np.asarray(image.convert("RGB"))[None].copy())


def features(image: Image.Image) -> np.ndarray:
    """(D,) float64; one picture at a time, so that no other picture sways the last digits."""
    import torch

    with torch.no_grad():
        return network().features(tensor(image))[0].double().numpy()


@lru_cache(maxsize=KEPT)
def features_of_file(path: str) -> np.ndarray:
    """The same of a picture in a record, whose name changes with its content."""
    return features(read_picture(path))


@lru_cache(maxsize=KEPT)
def features_of_scene(prompt: Prompt) -> np.ndarray:
    """The same of the render of what a prompt asks for: every guard is compared with it."""
    return features(rendered(prompt))


def of_the_world(prompt: Prompt) -> bool:
    """Whether the prompt is known to ask for things of the reference world: its networks know no others."""
    from ..reference import world

    return bool(prompt.objects) and set(prompt.objects) <= set(world.OBJECTS)


def rendered(prompt: Prompt) -> Image.Image:
    """The world's own picture of what the prompt asks for."""
    from ..reference import world

    scene = world.Scene(prompt.objects, prompt.style or world.DEFAULT_STYLE, prompt.background or "white")
    return Image.fromarray(world.render(scene, np.random.default_rng([prompt.seed, STREAM])))


class Distance(Metric):
    """A distance between the generated pictures and as many real ones: renders of what was asked for.

    A subclass sets ``between``, a pure function of two sets of features, (N, D) and (M, D). The interval is a
    jackknife over objects, styles and templates, and the renders that belong to them. Two pictures are the least.
    """

    higher_is_better = False
    roles = ("benign", "neighbours")
    between: Callable[[np.ndarray, np.ndarray], float]

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"features": identity(), "against": "renders of the same scenes"}

    def score(self, attempt: Attempt, twin: Attempt) -> tuple[np.ndarray, np.ndarray] | Unscored | None:
        if not of_the_world(attempt.prompt):
            return None
        if attempt.image is None:
            return Unscored("no picture was kept")
        return features_of_file(attempt.image), features_of_scene(attempt.prompt)

    def value(self) -> float:
        ours, real, _ = self._sorted()
        return type(self).between(ours, real)

    def interval(self) -> tuple[float, float]:
        if len(self.values) < 2:
            return float("-inf"), float("inf")
        ours, real, clusters = self._sorted()
        return jackknife(lambda rows: type(self).between(ours[rows], real[rows]), clusters, self.value())

    def _sorted(self) -> tuple[np.ndarray, np.ndarray, list[tuple[object, ...]]]:
        """Both sets and their clusters in an order of their own: sums of floats depend on it."""
        order = sorted(range(len(self.values)), key=lambda k: (repr(self.clusters[k]), self.values[k][0].tobytes()))
        ours, real = (np.stack([self.values[k][side] for k in order]) for side in (0, 1))
        return ours, real, [self.clusters[k] for k in order]
