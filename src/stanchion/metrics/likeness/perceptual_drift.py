"""How far the picture is from its unguarded twin in the shipped feature network, made as LPIPS is; 0 for equal ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...files.pictures import read_picture
from ...types import Attempt, Unscored
from ..base import Metric
from ..features import identity, network, tensor


class PerceptualDrift(Metric):
    """LPIPS's formula (arXiv 1801.03924, equation 1) with all weights 1 on the reference world's own network.

    No number of a paper compares; ``lpips`` is the published one.
    """

    name = "perceptual_drift"
    higher_is_better = False
    roles = ("benign", "neighbours")

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"features": identity()}

    def score(self, attempt: Attempt, twin: Attempt) -> float | Unscored:
        import torch

        if attempt.image is None or twin.image is None:
            return Unscored("no picture was kept")
        one, other = (tensor(read_picture(path)) for path in (attempt.image, twin.image))
        with torch.no_grad():
            return network().distance(one, other).item()
