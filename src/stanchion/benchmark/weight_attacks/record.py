"""The record of curves: a line a cell, appended when it is done, so that several processes can share one file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from .curve import Point


class Record:
    """What is done already, by the cell's key; opening it reads what is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._curves = dict(_read(path))

    def get(self, key: str) -> list[Point] | None:
        """The points of a cell, or None where it was not carried out."""
        return self._curves.get(key)

    def add(self, key: str, title: str, points: Sequence[Point]) -> None:
        """Write a whole cell in one piece."""
        line = json.dumps([key, title, [asdict(point) for point in points]])
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")  # on a line of its own, whatever stands before
        self._curves[key] = list(points)


def _read(path: Path) -> Iterator[tuple[str, list[Point]]]:
    """The lines that are whole: a process that was killed may leave a torn one."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(ValueError):
            key, _, points = json.loads(line)
            yield key, [Point.from_dict(values) for values in points]
