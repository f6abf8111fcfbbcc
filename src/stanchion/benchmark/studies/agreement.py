"""How far to trust the judge: 100 generated pictures, as they were labelled by eye and as three programs read them.

The pictures and labels lie in results/labelled. What could not be told by eye is left out of the comparison with the
eye, and counted as unscored.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ... import config
from ...concepts import Kind, load_concept
from ...files.documents import read_bytes, read_json
from ...files.pictures import read_picture
from ...judges import load_judge
from ...metrics.intervals import wilson
from ...reference import world
from ...reference.judge import load_reward
from ...types import Estimate, Labels
from ..results.row import Origin, Row, Subject
from ..spec.variant import Variant
from .base import Measure, Study

COLUMNS = 10
THRESHOLD = 0.5  # of the reward network, as of the judge
WEAPONS = frozenset(load_concept("weapons").labels)


@dataclass(frozen=True)
class Opinion:
    """What somebody says of one picture. ``unclear`` names what could not be told."""

    objects: frozenset[str]
    style: str | None
    background: str | None
    unclear: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rater:
    """Who says it: an identity as reports print it, and an opinion of each picture."""

    identity: str
    opinions: Sequence[Opinion]


@dataclass(frozen=True)
class _Seen:
    objects: tuple[str, ...]
    style: str | None
    background: str | None
    unclear: tuple[str, ...]


@dataclass(frozen=True)
class _Sheet:
    """What ``labels.json`` says."""

    labelled_by: str
    how: str
    drawn_with: str
    pictures: tuple[_Seen, ...]


def read_labelled(folder: Path) -> tuple[list[Image.Image], Rater]:
    """The pictures of ``pictures.png``, ten to a row, and the labels by eye of ``labels.json``."""
    values = config.from_dict(_Sheet, read_json(folder / "labels.json"), where=str(folder / "labels.json"))
    sheet = read_picture(folder / "pictures.png")
    size = world.SIZE
    corners = [(k % COLUMNS * size, k // COLUMNS * size) for k in range(len(values.pictures))]
    images = [sheet.crop((x, y, x + size, y + size)) for x, y in corners]
    opinions = [Opinion(frozenset(each.objects), each.style, each.background, each.unclear) for each in values.pictures]
    return images, Rater(f"eye ({values.labelled_by})", opinions)


def judged(name: str, images: list[Image.Image]) -> Rater:
    """A judge's opinions; a broken picture among the labelled ones is an error of this program."""
    judge = load_judge(name)
    answers = [labels for labels in judge.detect(images) if isinstance(labels, Labels)]
    return Rater(judge.identity, [Opinion(frozenset(a.objects), a.style, a.background) for a in answers])


def rewarded(images: list[Image.Image]) -> Rater:
    """The reward network's opinions."""

    def opinion(scores: Mapping[str, Mapping[str, float]]) -> Opinion:
        found = frozenset(name for name, score in scores["objects"].items() if score >= THRESHOLD)
        style, background = (max(scores[kind], key=scores[kind].__getitem__) for kind in ("style", "background"))
        return Opinion(found, style, background)

    answers = load_reward().predict(images)
    return Rater(f"reward network (threshold={THRESHOLD})", [opinion(scores) for scores in answers])


def compare(rater: Rater, other: Rater, origin: Origin) -> Iterator[Row]:
    """Rows of ``rater`` against ``other``; precision and recall take ``other`` for the truth."""
    pairs = list(zip(rater.opinions, other.opinions, strict=True))
    seen = _clear(pairs, "objects")
    both = sum(len(a.objects & b.objects) for a, b in seen)
    said, true = (sum(len(pair[k].objects) for pair in seen) for k in (0, 1))
    unclear = len(pairs) - len(seen)

    def row(metric: str, hits: int, n: int, left_out: int, kind: Kind = "object", concept: str = "all") -> Row:
        # F1 counts every object that both name twice; its interval must not.
        low, high = wilson(hits // 2, n // 2) if metric == "object_f1" else wilson(hits, n)
        return Row.of(
            metric,
            Estimate(hits / n if n else math.nan, low, high, n, left_out),
            Subject(concept, kind),
            "labelled",
            replace(origin, judge=rater.identity),
            variant=Variant("mixed"),
            seeds="9000-9099",
            settings={"against": other.identity},
            digits=4,
        )

    yield row("object_set_agreement", sum(a.objects == b.objects for a, b in seen), len(seen), unclear)
    yield row("object_precision", both, said, unclear)
    yield row("object_recall", both, true, unclear)
    yield row("object_f1", 2 * both, said + true, unclear)
    unsafe = sum(bool(a.objects & WEAPONS) == bool(b.objects & WEAPONS) for a, b in seen)
    yield row("unsafe_agreement", unsafe, len(seen), unclear, "unsafe", "weapons")
    styled = _clear(pairs, "style")
    yield row(
        "style_agreement", sum(a.style == b.style for a, b in styled), len(styled), len(pairs) - len(styled), "style"
    )
    if all(a.background is None for a, _ in pairs):
        return  # the rater does not look at backgrounds
    behind = _clear(pairs, "background")
    hits = sum(a.background == b.background for a, b in behind)
    yield row("background_agreement", hits, len(behind), len(pairs) - len(behind))


def _clear(pairs: Sequence[tuple[Opinion, Opinion]], what: str) -> list[tuple[Opinion, Opinion]]:
    return [pair for pair in pairs if not any(what in opinion.unclear for opinion in pair)]


@dataclass(frozen=True)
class Settings:
    """``labelled``: the folder of pictures.png and labels.json."""

    labelled: str = "results/labelled"


class Agreement(Study):
    name = "agreement"
    Settings = Settings

    def cells(self) -> dict[str, Measure]:
        """One."""
        return {"readers": self._readers}

    def identity(self) -> list[Any]:
        """The pictures, their labels, and who looks at them."""
        files = [Path(self.settings.labelled) / name for name in ("pictures.png", "labels.json")]
        hashes = [hashlib.sha256(read_bytes(file)).hexdigest() for file in files]
        return [hashes, [load_judge(name).identity for name in ("reference", "template")]]

    def _readers(self) -> Iterator[Row]:
        """The judge, the reward network and the templates against the eye; then the judge against both others."""
        images, eye = read_labelled(Path(self.settings.labelled))
        judge, reward, template = judged("reference", images), rewarded(images), judged("template", images)
        for one, other in ((judge, eye), (reward, eye), (template, eye), (reward, judge), (template, judge)):
            yield from compare(one, other, self.origin)
