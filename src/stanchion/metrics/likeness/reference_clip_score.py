"""How well the picture fits its prompt: 100 times the cosine in a CLIP that nothing was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ...files.pictures import read_picture
from ...types import Attempt, Unscored
from ..base import Metric
from ..features import of_the_world


@cache
def _clip() -> Any:
    """The metric CLIP of the reference world: its words and its pictures are all it knows."""
    from ...reference.image_text import ImageText

    return ImageText()


class ReferenceClipScore(Metric):
    """CLIPScore (arXiv 2104.08718) without its rescaling by 2.5 and its cut at 0, as Stable Diffusion papers give it.

    Measured where the prompt is harmless and of the reference world: a prompt that names the concept should not be
    followed, and of other worlds this CLIP knows nothing.
    """

    name = "reference_clip_score"
    higher_is_better = True
    roles = ("benign", "neighbours")

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"clip": _clip().identity}

    def score(self, attempt: Attempt, twin: Attempt) -> float | Unscored | None:
        if not of_the_world(attempt.prompt):
            return None
        if attempt.image is None:
            return Unscored("no picture was kept")
        return 100 * _clip().cosine(read_picture(attempt.image), attempt.prompt.text)
