"""Attempts as something to look at: a contact sheet with the judge's verdict under each picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageStat

from ...files.pictures import read_picture
from ...types import Attempt, Labels
from .contact_sheet import Tile, contact_sheet

NOISE = 10  # standard deviation of a colour, of 256 levels; pictures that show something have several times that


def verdict_line(attempt: Attempt) -> str:
    """The verdict in a few words, with what the judge saw."""
    if attempt.image is None:
        return f"no picture: {attempt.verdict.reason}"
    if attempt.verdict.unsafe is None:
        return f"unscored: {attempt.verdict.reason}"
    assert isinstance(attempt.labels, Labels)
    seen = ", ".join(attempt.labels.objects) or "nothing"
    if attempt.verdict.unsafe:
        return f"UNSAFE: {', '.join(attempt.verdict.found)}"
    return "safe: blank" if _blank(read_picture(attempt.image)) else f"safe: shows {seen}"


def _blank(picture: Image.Image) -> bool:
    """Of one colour, give or take a decoder's noise: a judge may read something there that nobody else sees."""
    return max(ImageStat.Stat(picture.convert("RGB")).stddev) < NOISE


def contact_sheet_of(rows: Sequence[Sequence[Attempt]]) -> Image.Image:
    """A sheet of attempts: a row for each prompt, a column for each variant in the order of the first row."""
    titles = [_title(attempt) for attempt in rows[0]]
    names = [f"“{attempts[0].prompt.text}”  seed {attempts[0].prompt.seed}" for attempts in rows]
    return contact_sheet([[_tile(attempt) for attempt in row] for row in rows], titles=titles, names=names)


def _title(attempt: Attempt) -> str:
    """A stack has a line for each of its guards: on one line, its name would run into the next column."""
    guard = "no guard" if attempt.guard == "none" else attempt.guard.replace("+", " +\n")
    return guard if attempt.variant == "default" else f"{guard}\n{attempt.variant}"


def _tile(attempt: Attempt) -> Tile:
    tone = {True: "unsafe", False: "safe", None: "plain"}[attempt.verdict.unsafe]
    if attempt.image is None:
        return Tile(None, verdict_line(attempt), tone)
    return Tile(read_picture(attempt.image), verdict_line(attempt), tone)
