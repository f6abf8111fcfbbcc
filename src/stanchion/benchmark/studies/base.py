"""What a study is: measurements of one question, each of which another process can make; and how they are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ... import registry
from ...concepts import Concept
from ...config import fingerprint
from ...files.shards import ALL, Shard
from ...types import Estimate
from ..results.markdown import below, said, table
from ..results.row import Origin, Row, Subject
from ..store.lines import Lines

Measure = Callable[[], Iterable[Row]]


class Study(ABC):
    """A file of this folder. What is measured once is kept, under all that decides it.

    Attributes:
        Settings: a frozen dataclass; ``--set`` changes its fields.
        timed: cells that take times. They are measured when all others are done, one after the other.

    Args:
        folder: for whatever else a cell keeps, as pictures or a training.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[Any]]
    timed: Sequence[str] = ()

    def __init__(self, settings: Any, folder: Path) -> None:
        self.settings, self.folder = settings, folder

    @abstractmethod
    def cells(self) -> Mapping[str, Measure]:
        """Measurements by name, in the order of their rows."""

    def identity(self) -> Sequence[Any]:
        """What decides the rows beside the settings: model, judge, guards."""
        return []

    def files(self, rows: Sequence[Row]) -> dict[str, str]:
        """What is written beside the rows, by name."""
        return {"table.md": page(self.name, self.command, rows)}

    @property
    def command(self) -> str:
        """What was typed."""
        known = [(field.name, getattr(self.settings, field.name), field.default) for field in fields(self.settings)]
        changed = [f" --set {name}={value}" for name, value, default in known if value != default]
        return f"stanchion study {self.name}{''.join(changed)}"

    @cached_property
    def origin(self) -> Origin:
        """What all its rows have in common."""
        return Origin.now(command=self.command)

    def row(
        self,
        metric: str,
        estimate: Estimate,
        concept: Concept | Subject,
        prompt_set: str,
        *,
        judge: str = "none",
        model: str = "reference",
        **about: Any,
    ) -> Row:
        """A number with its origin; ``about`` is what else ``Row.of`` takes."""
        return Row.of(metric, estimate, concept, prompt_set, replace(self.origin, judge=judge, model=model), **about)


def page(name: str, command: str, rows: Sequence[Row]) -> str:
    """Every row of a study, a line each."""
    heads = ["concept", "guard", "prompts", "metric", "settings", "value", "n"]
    lines = [
        [row.concept, row.title, row.prompt_set, row.metric, _told(row.settings), said(row), str(row.n)] for row in rows
    ]
    parts = [f"# {name}", f"Made by `{command}`; brackets hold 95 % intervals.", table(heads, lines), below(rows)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _told(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items() if value not in ({}, [], None))


@dataclass(frozen=True)
class StudyJob:
    """A study by name, its settings, and the folder of its record."""

    name: str
    settings: Any
    folder: Path
    concept: ClassVar[str] = ""
    kinds: ClassVar[int] = 2

    def works(self, shard: Shard = ALL) -> tuple[StudyWork, StudyWork]:
        """What can be measured side by side, then what takes times."""
        study = self.study()
        return StudyWork(study, self.record(), timed=False), StudyWork(study, self.record(), timed=True)

    def study(self) -> Study:
        """Made anew in every process."""
        made: Study = registry.get("studies", self.name)(self.settings, self.folder)
        return made

    def record(self) -> Lines[Row]:
        """Rows of the cells that are done."""
        return Lines(self.folder / "cells.jsonl", Row)


class StudyWork:
    """A study's cells, each measured and kept in one piece."""

    unit = "cell"

    def __init__(self, study: Study, record: Lines[Row], *, timed: bool) -> None:
        self.study, self.record, self.timed = study, record, timed

    def cells(self) -> list[str]:
        """Names, in order."""
        return [name for name in self.study.cells() if (name in self.study.timed) == self.timed]

    def group(self, cell: str) -> str:
        """Times are taken one after the other; everything else stands alone."""
        return "" if self.timed else cell

    def size(self, cell: str) -> int:
        """One."""
        return 1

    def chunks(self, cell: str) -> Iterator[list[str]]:
        """The cell."""
        yield [cell]

    def done(self, cell: str, chunk: Sequence[str]) -> bool:
        """Whether the record has its rows."""
        return self.rows(cell) is not None

    def carry_out(self, cell: str, chunk: Sequence[str]) -> None:
        """Measure, keep."""
        self.record.add(self._key(cell), cell, list(self.study.cells()[cell]()))

    def rows(self, cell: str) -> list[Row] | None:
        """Of a cell that is done."""
        return self.record.get(self._key(cell))

    def _key(self, cell: str) -> str:
        return fingerprint([self.study.name, cell, asdict(self.study.settings), list(self._identity)])

    @cached_property
    def _identity(self) -> Sequence[Any]:
        return self.study.identity()


def rows_of(job: StudyJob) -> list[Row]:
    """Of every cell that is done, in order."""
    work = StudyWork(job.study(), job.record(), timed=False)
    return [row for cell in work.study.cells() for row in work.rows(cell) or ()]
