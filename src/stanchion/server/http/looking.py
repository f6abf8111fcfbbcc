"""/v1/moderations: what a question holds, and how what was seen answers it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from ..policy import Policy
from ..requests import Seen
from .bodies import ImagePart, Question, TextPart, check_prompt
from .pictures import of_data_url

Results = Callable[[Sequence[Seen]], list[dict[str, Any]]]


def looked_at(question: Question, policy: Policy) -> tuple[list[str], list[Image.Image], Results]:
    """The texts and pictures of a question, and what makes results of what is seen in them, texts first.

    Raises:
        Invalid: a text that is too long, or a picture that can't be read.
    """
    asked = question.input if isinstance(question.input, list) else [question.input]
    texts = [check_prompt(text, policy, "input") for text in map(_text, asked) if text is not None]
    urls = [part.image_url.url for part in asked if isinstance(part, ImagePart)]
    images = [of_data_url(url, policy.limits.sent_side) for url in urls]
    together = not isinstance(asked[0], str)

    def results(seen: Sequence[Seen]) -> list[dict[str, Any]]:
        kinds = ["text"] * len(texts) + ["image"] * len(images)
        pairs = list(zip(kinds, seen, strict=True))
        return [_result(pairs)] if together else [_result([pair]) for pair in pairs]

    return texts, images, results


def _text(part: Any) -> str | None:
    return part if isinstance(part, str) else part.text if isinstance(part, TextPart) else None


def _result(pairs: Sequence[tuple[str, Seen]]) -> dict[str, Any]:
    names = sorted({name for _, seen in pairs for name in seen.scores})
    found = {name: any(name in seen.found for _, seen in pairs) for name in names}
    return {
        "flagged": any(found.values()),
        "categories": found,
        "category_scores": {name: max(seen.scores.get(name, 0.0) for _, seen in pairs) for name in names},
        "category_applied_input_types": {
            name: sorted({kind for kind, seen in pairs if name in seen.scores}) for name in names
        },
    }
