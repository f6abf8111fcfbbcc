"""The judge of the reference world: objects, style and background of a rendered or generated picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from ..config import Share, checked
from ..types import Labels
from .base import Judge


class ReferenceJudge(Judge):
    """A small network trained on renders of the world, never on generated pictures.

    Args:
        threshold: score in [0, 1] from which a label counts as found.
    """

    name = "reference"
    version = "1"

    @checked
    def __init__(self, threshold: Share = 0.5) -> None:
        from ..reference.judge import load_judge

        self.threshold = threshold
        self._network = load_judge()

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"threshold": self.threshold}

    def look(self, images: list[Image.Image]) -> list[Labels]:
        return [self._labels(scores) for scores in self._network.predict(images)]

    def _labels(self, scores: Mapping[str, Mapping[str, float]]) -> Labels:
        found = tuple(name for name, score in scores["objects"].items() if score >= self.threshold)
        every = {**scores["objects"], **scores["style"], **scores["background"]}
        return Labels(found, self._best(scores["style"]), self._best(scores["background"]), every)

    def _best(self, scores: Mapping[str, float]) -> str | None:
        name = max(scores, key=lambda name: scores[name])
        return name if scores[name] >= self.threshold else None
