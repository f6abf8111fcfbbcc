"""The record: a folder with ``attempts.jsonl``, one line an attempt, and the pictures beside it.

Lines are only ever appended, and a picture is on disk before the line that names it. A process that is killed
leaves at most a torn last line, which the next one drops. Processes that fill one record at the same time write a
part each, ``attempts-PART.jsonl``; whoever opens the record reads them all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ... import config
from ...errors import ConfigError
from ...files.documents import json_line, parse_json_lines
from ...files.names import inside
from ...types import Attempt, Labels

WHERE = ("concept", "prompt_set", "picture")


@dataclass(frozen=True)
class StoredAttempt:
    """A line: an attempt, where it belongs, and the key of its picture (equal keys, equal picture)."""

    concept: str
    prompt_set: str
    picture: str
    attempt: Attempt

    @property
    def cell(self) -> tuple[Any, ...]:
        """What ``Store.cell`` takes."""
        attempt = self.attempt
        attack = attempt.attack, attempt.adaptive, attempt.restart
        return attempt.guard, attempt.variant, self.concept, self.prompt_set, *attack


class Store:
    """A record on disk; opening it reads what is there.

    Args:
        part: of the record that this process writes, by ``file_name``; no two at a time write one (see ``writing``).
        reading: nothing is made and nothing mended: a torn line may be on its way.

    Raises:
        ConfigError: a line in the middle can't be read.
    """

    def __init__(self, folder: str | Path, part: str = "", *, reading: bool = False) -> None:
        self.folder = Path(folder)
        self.path = self.folder / (f"attempts-{part}.jsonl" if part else "attempts.jsonl")
        self._images = (self.folder / "images").resolve()
        if not reading:
            self._images.mkdir(parents=True, exist_ok=True)
            _mend(self.path)
        self._cells: dict[tuple[Any, ...], dict[str, StoredAttempt]] = {}
        self._pictures: dict[str, StoredAttempt] = {}
        for path in sorted(self.folder.glob("attempts*.jsonl")):
            for entry in self._read(path):
                self._remember(entry)

    @classmethod
    def read(cls, folder: str | Path) -> Store:
        """A record to look at, whoever writes into it meanwhile."""
        return cls(folder, reading=True)

    def cell(
        self,
        guard: str,
        variant: str,
        concept: str,
        prompt_set: str,
        attack: str = "direct",
        adaptive: bool | None = None,
        restart: int | None = None,
    ) -> dict[str, StoredAttempt]:
        """Entries of one cell by the prompt's id."""
        return self._cells.get((guard, variant, concept, prompt_set, attack, adaptive, restart), {})

    def entries(self) -> Iterator[StoredAttempt]:
        """Every attempt that counts: where a prompt was run again, the later one."""
        return (entry for cell in self._cells.values() for entry in cell.values())

    def picture(self, key: str) -> StoredAttempt | None:
        """Any entry that shows this picture, or None where it was not made yet."""
        return self._pictures.get(key)

    def save_image(self, key: str, image: Image.Image) -> str:
        """Write a picture as PNG, whole or not at all; its absolute path."""
        path = self._images / f"{key}.png"
        unfinished = path.with_suffix(f".{os.getpid()}.part")  # two processes may make the same picture
        image.save(unfinished, format="PNG")
        os.replace(unfinished, path)
        return str(path)

    def append(self, entries: Iterable[StoredAttempt]) -> None:
        """Add lines in one write, so that a kill tears at most the last one."""
        entries = list(entries)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{json_line(_to_line(entry))}\n" for entry in entries))
        for entry in entries:
            self._remember(entry)

    def _remember(self, entry: StoredAttempt) -> None:
        self._cells.setdefault(entry.cell, {})[entry.attempt.prompt.id] = entry
        self._pictures.setdefault(entry.picture, entry)

    def _read(self, path: Path) -> Iterator[StoredAttempt]:
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        for place, line in parse_json_lines(whole, str(path)):
            yield self._from_line(line, place)

    def _from_line(self, line: Any, place: str) -> StoredAttempt:
        """The entry of a line, in which nothing is left out.

        Raises:
            ConfigError: it is none, or its picture lies elsewhere.
        """
        try:
            known = line if isinstance(line, dict) else {}
            where = config.restore(_Where, {key: known.get(key) for key in WHERE}, where="entry")
            rest = {key: value for key, value in known.items() if key not in WHERE}
            attempt = config.restore(Attempt, rest, where="attempt")
            if attempt.image is not None:
                attempt = replace(attempt, image=str(inside(self._images, attempt.image, "image")))
        except ConfigError as error:
            raise ConfigError(f"{place}: can't be read: {error} Take the line out, and it is made again.") from error
        return StoredAttempt(where.concept, where.prompt_set, where.picture, attempt)


@dataclass(frozen=True)
class _Where:
    concept: str
    prompt_set: str
    picture: str


def _mend(path: Path) -> None:
    """Drop the last line where whoever wrote it was killed in the middle."""
    if path.exists():
        whole, newline, torn = path.read_bytes().rpartition(b"\n")
        if torn:
            os.truncate(path, len(whole) + len(newline))


def _to_line(entry: StoredAttempt) -> dict[str, Any]:
    attempt = entry.attempt
    if isinstance(attempt.labels, Labels):
        scores = {name: round(float(score), 4) for name, score in attempt.labels.scores.items()}
        attempt = replace(attempt, labels=replace(attempt.labels, scores=scores))
    line = {"concept": entry.concept, "prompt_set": entry.prompt_set, "picture": entry.picture, **asdict(attempt)}
    return {**line, "image": attempt.image and Path(attempt.image).name}
