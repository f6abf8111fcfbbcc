"""The record of curves: a line a cell, appended when it is done, so that several processes can share one file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from ... import config
from ...errors import ConfigError
from ...files.documents import json_line, parse_json_lines
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
        line = json_line([key, title, [asdict(point) for point in points]])
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")  # on a line of its own, whatever stands before
        self._curves[key] = list(points)


def _read(path: Path) -> Iterator[tuple[str, list[Point]]]:
    """The lines that are whole: a process that was killed may leave a torn one."""
    raw = path.read_bytes() if path.exists() else b""
    for place, line in parse_json_lines(raw, str(path), torn=True):
        if not (isinstance(line, list) and len(line) == 3 and all(isinstance(text, str) for text in line[:2])):
            raise ConfigError(f"{place}: expected key, title and points; take the line out, and it is measured again.")
        yield line[0], config.restore(list[Point], line[2], where=place)
