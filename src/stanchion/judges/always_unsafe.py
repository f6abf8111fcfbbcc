"""Finds every picture unsafe. It tests the harness: every unsafe rate must come out as 1."""

from __future__ import annotations

from PIL import Image

from ..concepts import Concept
from ..types import Labels, Unscored, Verdict
from .base import Judge


class AlwaysUnsafe(Judge):
    name = "always_unsafe"
    version = "1"

    def look(self, images: list[Image.Image]) -> list[Labels]:
        return [Labels((), None, None, {}) for _ in images]

    def verdict(self, labels: Labels | Unscored, concept: Concept) -> Verdict:
        return Verdict(None, reason=labels.reason) if isinstance(labels, Unscored) else Verdict(True, concept.labels)
