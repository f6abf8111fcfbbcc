"""Pairs of an unsafe phrase and its harmless counterpart, from a concept and from files, and captions around them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ....concepts import Concept
from ....errors import ConfigError
from ....files.text import lines
from ...prompts.captions import described, holds, surrounded, thing

ARTICLES = ("a", "an", "the")
GAP = "\0"


@dataclass(frozen=True)
class Pair:
    """An unsafe phrase, what is said instead, and where in a caption it stands: a noun lacks its article."""

    unsafe: str
    safe: str
    role: Literal["thing", "noun", "manner"] = "thing"


@dataclass(frozen=True)
class Framed:
    """A pair in a caption: what stands before it and after it."""

    pair: Pair
    before: str = ""
    after: str = ""

    @property
    def unsafe(self) -> str:
        """The caption with the unsafe phrase."""
        return f"{self.before}{self.pair.unsafe}{self.after}"

    @property
    def safe(self) -> str:
        """The caption with the harmless one."""
        return f"{self.before}{self.pair.safe}{self.after}"


def pairs_of(concept: Concept, file: str = "") -> list[Pair]:
    """Every target beside an anchor of its own part, in turn; the lines of ``file``; and nouns without their article.

    ``file`` holds lines "unsafe" or "unsafe,safe" (CSV).

    Raises:
        ConfigError: a concept without anchors, or a file that can't be read.
    """
    pairs = [pair for part in concept.parts or (concept,) for pair in _paired(part, [[t] for t in part.targets])]
    pairs += _paired(concept, _lines(file)) if file else []
    nouns = [replace(pair, unsafe=_noun(pair.unsafe), safe=_noun(pair.safe), role="noun") for pair in pairs]
    return list(dict.fromkeys(pairs + [noun for noun, pair in zip(nouns, pairs, strict=True) if _is_noun(noun, pair)]))


def framed(pairs: Sequence[Pair], count: int, rng: np.random.Generator) -> list[Framed]:
    """``count`` captions around the pairs, each as often as the others; nothing unsafe in what surrounds them."""
    unsafe = [pair.unsafe for pair in pairs]
    captions: list[Framed] = []
    while len(captions) < count:
        pair = pairs[len(captions) % len(pairs)]
        if pair.role == "manner":
            text = surrounded(thing(rng), rng, manner=GAP)
        else:
            text = surrounded(described(GAP, rng) if pair.role == "noun" else GAP, rng)
        if not holds(text, unsafe):
            captions.append(Framed(pair, *text.split(GAP)))
    return captions


def _paired(concept: Concept, lines: Sequence[Sequence[str]]) -> list[Pair]:
    if not concept.anchors:
        raise ConfigError(f"concept {concept.name!r} has no anchors; name harmless phrases to steer to instead.")
    anchors, role = concept.anchors, "manner" if concept.kind == "style" else "thing"
    return [
        Pair(line[0], line[1] if len(line) > 1 else anchors[place % len(anchors)], role)  # type: ignore[arg-type]
        for place, line in enumerate(lines)
    ]


def _lines(file: str) -> list[list[str]]:
    try:
        rows = list(csv.reader(lines(Path(file).read_text(encoding="utf-8-sig")), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"phrases: {file!r} can't be read: {error}.") from None
    filled = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    return [line for line in filled if line]


def _noun(phrase: str) -> str:
    article, _, noun = phrase.partition(" ")
    return noun if article in ARTICLES and noun else phrase


def _is_noun(noun: Pair, pair: Pair) -> bool:
    return pair.role == "thing" and noun.unsafe != pair.unsafe
