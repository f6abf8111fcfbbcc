"""What prompt sets that others published share: one schema out of many column names.

Rows come in a fixed shuffled order, so that a short prefix is even where a file is sorted. A row keeps its own seed
and guidance scale. Widths, heights and samplers that some files name are not taken over: the spec's model decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isfinite
from typing import Any, ClassVar

import numpy as np

from ...concepts import Concept
from ...errors import ConfigError
from ...files.text import composed
from ...types import Prompt
from ..base import PromptSet
from ..tables import Line, PublishedTable, Selection, hub_table, read_table

SEED = ("evaluation_seed", "sd_seed", "seed")
GUIDANCE = ("evaluation_guidance", "sd_guidance_scale", "guidance")
TEXT = ("prompt", "adv_prompt", "sensitive_prompt", "text")
ROW = ("case_number", "case_num", "coco_id", "image")
GUIDANCE_RANGE = (1.0, 20.0)  # I2P goes up to 255, where a picture is noise
ORDER = 0  # seed of the order of rows, the same in every benchmark


class PublishedPrompts(PromptSet):
    """A table that others published. A subclass says where it is and what differs from the usual columns.

    Attributes:
        source: where the file is found.
        hub: the dataset on the Hub that is read where the selection names no file; empty where there is none.
        split: of the dataset.
        text: columns of the prompt, the first that is there.
        objects, style: columns that say what the picture shows.
        entry: of a JSON file, the list that is read where the selection names none.

    Args:
        selection: the file, and which of its rows.

    Raises:
        ConfigError: no file where there is no dataset on the Hub, one that can't be read, or one whose seeds or
            guidance scales stand in a column of a name that nobody knows.
    """

    published = True
    source: ClassVar[str]
    hub: ClassVar[str] = ""
    split: ClassVar[str] = "train"
    text: ClassVar[tuple[str, ...]] = TEXT
    objects: ClassVar[tuple[str, ...]] = ()
    style: ClassVar[tuple[str, ...]] = ()
    entry: ClassVar[str] = ""

    def __init__(self, selection: Selection | None = None) -> None:
        self.selection = selection or Selection()
        self.table = self._read()
        self._text = self._column(self.text)
        for names, what in ((SEED, "seed"), (GUIDANCE, "guidance")):
            self._known(names, what)
        self.lines = self.table.select(self.selection.where)
        own = [_first(line, ROW) for line in self.lines]
        unique = "" not in own and len(set(own)) == len(own)
        self._ids = own if unique else [f"{place:05d}" for place in range(len(own))]

    @property
    def settings(self) -> Mapping[str, Any]:
        table = {"name": self.table.name, "sha256": self.table.sha256, "rows": len(self.lines)}
        return {"table": {**table, "where": dict(self.selection.where), "guidance_scale_clipped_to": GUIDANCE_RANGE}}

    def rows(self, concept: Concept, n: int, seed: int) -> list[Prompt]:
        """The first ``n`` rows, all where there are fewer; a row without a seed gets ``seed`` plus its place."""
        return [self._prompt(concept, line, seed + place) for place, line in enumerate(self.order(n))]

    def order(self, n: int) -> Sequence[int]:
        """Which lines come first."""
        return np.random.default_rng(ORDER).permutation(len(self.lines))[:n].tolist()

    def _prompt(self, concept: Concept, place: int, seed: int) -> Prompt:
        line = self.lines[place]
        own, scale = _seed(line), _number(line, GUIDANCE)
        return Prompt(
            text=self._said(line, place),
            seed=seed if own is None else own,
            id=f"{concept.name}/{self.name}/{self._ids[place]}",
            objects=tuple(filter(None, [composed(_first(line, self.objects))])),
            style=composed(_first(line, self.style)) or None,
            guidance_scale=None if scale is None else float(np.clip(scale, *GUIDANCE_RANGE)),
        )

    def _said(self, line: Line, place: int) -> str:
        """The prompt as it was published. The empty one would be drawn too, and measure nothing."""
        if (text := line.get(self._text, "")).strip():
            return text
        raise ConfigError(
            f"{self.table.name}: row {self._ids[place]} has no {self._text}; leave such rows out, "
            f"where: {{{self._text}: 'not '}}."
        )

    def _known(self, names: Sequence[str], what: str) -> None:
        columns = self.table.columns
        near = [column for column in columns if what in column.split("_") or column == f"{what}s"]
        if near and not set(names) & set(columns):
            raise ConfigError(
                f"{self.table.name}: column {near[0]!r} looks like a {what}, but only {', '.join(names)} are read; "
                "rename it."
            )

    def _read(self) -> PublishedTable:
        chosen = self.selection
        if chosen.entry and not chosen.file:
            raise ConfigError(f"prompt set {self.name!r}: entry {chosen.entry!r} is of a JSON file; name the file too.")
        if chosen.file:
            return read_table(chosen.file, chosen.entry or self.entry).checked(chosen.sha256)
        if not self.hub:
            raise ConfigError(
                f"prompt set {self.name!r} needs a file: get one from {self.source} and name it in the spec, "
                f"tables: {{{self.name}: {{file: …}}}}."
            )
        return hub_table(self.hub, self.split).checked(chosen.sha256)

    def _column(self, names: Sequence[str]) -> str:
        found = [name for name in names if name in self.table.columns]
        if not found:
            raise ConfigError(
                f"{self.table.name} is no table of {self.name}: it has the columns {', '.join(self.table.columns)}, "
                f"and none of {', '.join(names)}."
            )
        return found[0]


def _first(line: Line, names: Sequence[str]) -> str:
    """The first value that is there."""
    return next((line[name] for name in names if line.get(name)), "")


def _seed(line: Line) -> int | None:
    number = _number(line, SEED)
    if number is not None and not (number == int(number) and 0 <= number < 2**63):
        raise ConfigError(f"{number!r} is no seed (one of the columns {', '.join(SEED)}); use 0, 1, … below 2⁶³.")
    return None if number is None else int(number)


def _number(line: Line, names: Sequence[str]) -> float | None:
    """The first value that is there; None where there is none. Whole numbers stay whole: seeds can be long.

    Raises:
        ConfigError: it is no number, or not finite.
    """
    text = _first(line, names).strip()
    if not text:
        return None
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        if isfinite(number := float(text)):
            return number
    raise ConfigError(f"{text!r} is no number (one of the columns {', '.join(names)}).")
