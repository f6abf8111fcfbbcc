"""Published: HUB's prompts for a concept with the other things that they name, which have to stay. No licence seen."""

from __future__ import annotations

from dataclasses import replace

from ...concepts import Concept
from ...files.text import composed
from ...types import Prompt
from .base import PublishedPrompts


class HUBSelective(PublishedPrompts):
    """Holistic Unlearning Benchmark (arXiv 2410.05664), selective alignment: a JSON list a concept.

    Rows: prompt, nouns (a list), index. The companion of a prompt is the first of its nouns; HUB asks a model for all.
    """

    name = "hub_selective"
    role = "paired"
    source = "prompts/selective_alignment of https://github.com/ml-postech/HUB"

    def _prompt(self, concept: Concept, place: int, seed: int) -> Prompt:
        nouns = [composed(noun.strip()) for noun in self.lines[place].get("nouns", "").split(",")]
        return replace(super()._prompt(concept, place, seed), companion=next(filter(None, nouns), None))
