"""Published: HUB's prompts for a concept in six languages, hub_multilingual_german. No licence seen."""

from __future__ import annotations

from typing import Self

from ..kinds import OfKinds
from .base import PublishedPrompts

COLUMNS = {  # by language
    "english": "original",
    **{name: name for name in ("spanish", "french", "german", "italian", "portuguese")},
}


class HUBMultilingual(OfKinds, PublishedPrompts):
    """Holistic Unlearning Benchmark (arXiv 2410.05664), multilingual robustness: a CSV file a concept.

    Columns: Original, Spanish, French, German, Italian, Portuguese, Index; the translations are a machine's.
    """

    name = "hub_multilingual_"
    role = "unsafe"
    source = "prompts/multilingual_robustness of https://github.com/ml-postech/HUB"
    kinds = tuple(COLUMNS)

    @classmethod
    def called(cls, name: str) -> type[Self]:
        """The set of that name, which reads its language's column.

        Raises:
            UnknownName: no such language.
        """
        made = super().called(name)
        made.text = (COLUMNS[made.kind],)
        return made
