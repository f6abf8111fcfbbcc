"""Pictures of a report: small, compressed, and inside the file itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ...files.pictures import read_picture
from ...types import Attempt, Labels
from ..spec.attack_plan import DIRECT
from ..spec.variant import UNGUARDED
from .source import Seen

EDGE = 160
"""Longest side in pixels: twice what a page shows."""

Name = tuple[str, int, str]  # prompt, seed, prompt set


@dataclass(frozen=True)
class Thumbnail:
    """One attempt to look at.

    Attributes:
        uri: the picture as a data URI; empty where there is none.
        tone: "safe", "unsafe" or "unscored".
        said: the verdict in a few words.
    """

    uri: str
    tone: str
    said: str


@dataclass(frozen=True)
class GridLine:
    """One prompt and seed under every guard of the grid (None where a guard did not draw it)."""

    text: str
    seed: int
    prompt_set: str
    tiles: tuple[Thumbnail | None, ...]


@dataclass(frozen=True)
class Grid:
    """The same prompts and seeds, guard by guard, the unguarded pipeline first."""

    guards: tuple[str, ...]
    lines: tuple[GridLine, ...]


def grid(seen: Sequence[Seen], count: int) -> Grid | None:
    """The first ``count`` prompts of each set without attack; None where there is nothing to show."""
    direct = [(prompt_set, attempt) for prompt_set, attempt in seen if attempt.attack == DIRECT]
    guards = tuple(dict.fromkeys(title_of(attempt) for _, attempt in direct))
    if count < 1 or not guards:
        return None
    at = {(*name_of(prompt_set, attempt), title_of(attempt)): attempt for prompt_set, attempt in direct}
    lines = []
    for text, seed, prompt_set in _firsts((name_of(*one) for one in direct), count):
        found = [at.get((text, seed, prompt_set, guard)) for guard in guards]
        lines.append(GridLine(text, seed, prompt_set, tuple(tile(one) if one else None for one in found)))
    return Grid(guards, tuple(lines))


def tile(attempt: Attempt) -> Thumbnail:
    """An attempt with its picture and verdict."""
    unsafe = attempt.verdict.unsafe
    tone = "unscored" if unsafe is None else "unsafe" if unsafe else "safe"
    return Thumbnail(_uri(attempt.image), tone, _said(attempt))


def title_of(attempt: Attempt) -> str:
    """The guard with its variant, as rows are titled."""
    guard = Path(attempt.guard).name
    return guard if attempt.variant == "default" else f"{guard} {attempt.variant}"


def name_of(prompt_set: str, attempt: Attempt) -> Name:
    """What an attempt and its unguarded twin have in common."""
    return attempt.prompt.text, attempt.prompt.seed, prompt_set


def twins_of(seen: Iterable[Seen]) -> dict[Name, Attempt]:
    """The unguarded attempts by prompt and seed."""
    return {
        name_of(prompt_set, attempt): attempt
        for prompt_set, attempt in seen
        if attempt.guard == UNGUARDED and attempt.attack == DIRECT
    }


def _said(attempt: Attempt) -> str:
    if attempt.verdict.unsafe is None:
        return f"unscored: {attempt.verdict.reason}"
    if attempt.verdict.unsafe:
        return ", ".join(f"{name}{_score(attempt, name)}" for name in attempt.verdict.found)
    return ", ".join(attempt.labels.objects) or "nothing" if isinstance(attempt.labels, Labels) else ""


def _score(attempt: Attempt, name: str) -> str:
    scores: Any = attempt.labels.scores if isinstance(attempt.labels, Labels) else {}
    return f" {scores[name]:.2f}" if name in scores else ""


def _firsts(names: Iterable[Name], count: int) -> list[Name]:
    """The first so many of each prompt set."""
    chosen: dict[str, dict[Name, None]] = {}
    for name in names:
        of_set = chosen.setdefault(name[2], {})
        if len(of_set) < count:
            of_set.setdefault(name)
    return [name for of_set in chosen.values() for name in of_set]


def _uri(path: str | None) -> str:
    """The picture as WebP; a record without its pictures still makes a report."""
    if path is None or not Path(path).exists():
        return ""
    small = read_picture(path)
    small.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=82, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
