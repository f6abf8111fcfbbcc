"""A record of cells that are done in one piece: a line each, so that several processes can share one file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from ... import config
from ...errors import ConfigError
from ...files.documents import json_line, parse_json_lines

Line = TypeVar("Line")  # a dataclass


class Lines(Generic[Line]):
    """What is done already, by the cell's key; opening it reads what is there.

    Args:
        kind: of the dataclass that a cell has a list of.
    """

    def __init__(self, path: Path, kind: type[Line]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._cells: dict[str, list[Line]] = dict(_read(path, kind))

    def get(self, key: str) -> list[Line] | None:
        """Of a cell, or None where it was not carried out."""
        return self._cells.get(key)

    def add(self, key: str, title: str, lines: Sequence[Line]) -> None:
        """Write a whole cell in one piece, on a line of its own, whatever stands before."""
        text = json_line([key, title, [asdict(line) for line in lines]])  # type: ignore[call-overload]
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, f"\n{text}\n".encode())
        finally:
            os.close(file)
        self._cells[key] = list(lines)


def _read(path: Path, kind: Any) -> Iterator[tuple[str, list[Any]]]:
    """The lines that are whole: a process that was killed may leave a torn one."""
    raw = path.read_bytes() if path.exists() else b""
    for place, line in parse_json_lines(raw, str(path), torn=True):
        if not (isinstance(line, list) and len(line) == 3 and all(isinstance(text, str) for text in line[:2])):
            raise ConfigError(f"{place}: expected key, title and lines; take the line out, and it is measured again.")
        yield line[0], config.restore(list[kind], line[2], where=place)
