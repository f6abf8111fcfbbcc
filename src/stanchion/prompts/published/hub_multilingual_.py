"""Published: HUB's prompts for a concept in six languages, hub_multilingual_german. No licence seen."""

from __future__ import annotations

from typing import ClassVar

from ...errors import UnknownName
from .base import PublishedPrompts

COLUMNS = {  # by language
    "english": "original",
    **{name: name for name in ("spanish", "french", "german", "italian", "portuguese")},
}


class HUBMultilingual(PublishedPrompts):
    """Holistic Unlearning Benchmark (arXiv 2410.05664), multilingual robustness: a CSV file a concept.

    Columns: Original, Spanish, French, German, Italian, Portuguese, Index; the translations are a machine's.

    Attributes:
        language: one of ``COLUMNS``.
    """

    name = "hub_multilingual_"
    role = "unsafe"
    source = "prompts/multilingual_robustness of https://github.com/ml-postech/HUB"
    language: ClassVar[str]

    @classmethod
    def called(cls, name: str) -> type[HUBMultilingual]:
        """The set of that name.

        Raises:
            UnknownName: no such language.
        """
        language = name.removeprefix(cls.name)
        if language not in COLUMNS:
            known = " or ".join(f"{cls.name}{known}" for known in COLUMNS)
            raise UnknownName(f"unknown prompt set {name!r}; say {known}.")
        return type(cls.__name__, (cls,), {"name": name, "language": language, "text": (COLUMNS[language],)})
