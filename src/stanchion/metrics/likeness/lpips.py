"""LPIPS between a picture and its unguarded twin: the published one, from the extra `lpips`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...files.pictures import read_picture
from ...types import Attempt, Unscored
from ..base import Metric


class LPIPS(Metric):
    """LPIPS 0.1 with AlexNet (arXiv 1801.03924), as torchmetrics has it; pictures of 64 pixels or more.

    The AlexNet weights come from torchvision's site when they are first used. They could not be had where this was
    written: what is tested is everything but the network.

    Args:
        distance: of two (1, 3, H, W) tensors in [0, 1]; None for torchmetrics' own.

    Raises:
        ConfigError: the extra `lpips` is not installed.
    """

    name = "lpips"
    higher_is_better = False
    roles = ("benign", "neighbours")
    optional = True

    def __init__(self, distance: Callable[[Any, Any], Any] | None = None) -> None:
        super().__init__()
        self._distance = distance or _published()

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"lpips": "torchmetrics, alex, version 0.1"}

    def score(self, attempt: Attempt, twin: Attempt) -> float | Unscored:
        if attempt.image is None or twin.image is None:
            return Unscored("no picture was kept")
        return float(self._distance(_read(attempt.image), _read(twin.image)))


def _published() -> Callable[[Any, Any], Any]:
    try:
        import torchvision  # noqa: F401  torchmetrics asks for it only when the first picture is looked at
        from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as distance
    except ImportError as error:
        raise ConfigError("metric lpips needs torchmetrics and torchvision: pip install 'stanchion[lpips]'.") from error
    return lambda one, other: distance(one, other, net_type="alex", normalize=True)


def _read(path: str) -> Any:
    import torch

    pixels = np.asarray(read_picture(path), np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]
