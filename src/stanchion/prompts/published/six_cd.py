"""Published: concepts and prompts of Six-CD, six kinds of them. MIT."""

from __future__ import annotations

from ..tables import Line
from .base import PublishedPrompts


class SixCD(PublishedPrompts):
    """Six-CD (arXiv 2406.14855), a CSV file a kind: id, and concept (objects, characters, celebrities) or prompt.

    A concept is said by the first of its templates, "a photo of …"; artists have templates of their own, and their
    files are not for this set. The files on harm and nudity were not looked at: their prompts are taken to stand in a
    column of a usual name.
    """

    name = "six_cd"
    role = "unsafe"
    source = "Datasets/SIX-CD of https://github.com/Artanisax/Six-CD"
    text = ("prompt", "concept")
    objects = ("concept",)

    def _said(self, line: Line, place: int) -> str:
        said = super()._said(line, place)
        return f"a photo of {said}" if self._text == "concept" else said
