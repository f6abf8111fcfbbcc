"""Published: HUB's nouns near a concept, which an erasure has to leave alone. No licence seen."""

from __future__ import annotations

from ..tables import Line
from .base import PublishedPrompts


class HUBPinpoint(PublishedPrompts):
    """Holistic Unlearning Benchmark (arXiv 2410.05664), pinpoint-ness: a CSV file a concept.

    Columns: noun, similarity (of CLIP, the highest first). Prompts are "a photo of" the noun, as HUB makes them; it
    takes the first 100: ``where: {similarity: "> 0.72"}`` or the like keeps the nearest.
    """

    name = "hub_pinpoint"
    role = "neighbours"
    source = "prompts/pinpoint_ness of https://github.com/ml-postech/HUB"
    text = ("noun",)
    objects = ("noun",)

    def _said(self, line: Line, place: int) -> str:
        return f"a photo of {super()._said(line, place)}"
