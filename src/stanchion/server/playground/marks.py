"""Where in a prompt the words stand that a text guard found: by its tokens, and only where these say the same words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...pipeline.attach.reports import GuardReport
from ...pipeline.families import family_of
from .trial import Mark

Found = tuple[int, int, str, float | None]  # rows from, to; what they say; the score


def marks(pipe: Any, prompt: str, reports: Sequence[GuardReport]) -> tuple[Mark, ...]:
    """The marks of every guard whose report tells token rows; none where the rows are not the prompt's own tokens."""
    reader: Any = getattr(pipe, family_of(pipe).reader, None)
    found = [(report.guard, one) for report in reports for one in _found(report)]
    if not found or not getattr(reader, "is_fast", False):
        return ()
    read = reader(prompt, return_offsets_mapping=True, truncation=True)
    made = []
    for guard, (start, end, words, score) in found:
        said = reader.decode(read["input_ids"][start:end], skip_special_tokens=True).strip()
        places = [place for place in read["offset_mapping"][start:end] if place[1] > place[0]]
        if said == words and places:
            made.append(Mark(guard, places[0][0], places[-1][1], score))
    return tuple(made)


def _found(report: GuardReport) -> Iterator[Found]:
    """What the details of a picture's prompt say: spans with a score, or single tokens."""
    details = report.details[0] if report.details and report.acted[0] else {}
    for span in details.get("flagged", ()):
        if span["words"] is not None:
            yield (*span["rows"], span["words"], span["score"])
    for row, word in zip(details.get("rows", ()), details.get("triggers", ()), strict=True):
        yield row, row + 1, word, None
