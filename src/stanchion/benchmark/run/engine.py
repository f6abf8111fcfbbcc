"""The one resumable loop: what a record lacks is carried out, until it is whole or the clock says stop."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from tqdm import tqdm

from ...files.shards import ALL, Shard


class Work(Protocol):
    """Work of one kind: prompts, attacks, curves of weights, a study's measurements.

    A *cell* is what may be given to another process; ``str(cell)`` is its title. A *chunk* is what is done between two
    looks at the clock: nothing of it or all, and always the same again, however often the work was cut off.
    """

    unit: str  # what ``size`` counts

    def cells(self) -> Sequence[Any]:
        """All of them, in order."""
        ...

    def group(self, cell: Any) -> Hashable:
        """Cells of one group have something in common that is made once: they stay in one process."""
        ...

    def size(self, cell: Any) -> int:
        """Of all its chunks."""
        ...

    def chunks(self, cell: Any) -> Iterator[Sequence[Any]]:
        """The cell in pieces, in order."""
        ...

    def done(self, cell: Any, chunk: Sequence[Any]) -> bool:
        """Whether the record has all of it."""
        ...

    def carry_out(self, cell: Any, chunk: Sequence[Any]) -> None:
        """Add to the record what it lacks of a chunk."""
        ...


@dataclass(frozen=True)
class Clock:
    """Says when to stop: at ``until`` of ``time.monotonic``, which all processes of a machine share."""

    until: float = inf

    @classmethod
    def after(cls, minutes: float | None) -> Clock:
        """So many minutes from now; never where nothing is said."""
        return cls() if minutes is None else cls(time.monotonic() + 60 * minutes)

    def passed(self) -> bool:
        """Whether it is time to stop."""
        return time.monotonic() > self.until


NEVER = Clock()


def silent(title: str) -> None:
    """Tells nobody."""


def fill(
    work: Work,
    *,
    clock: Clock = NEVER,
    shard: Shard = ALL,
    tell: Callable[[str], object] = silent,
) -> bool:
    """Carry out what the record lacks of a shard's cells; False where the clock passed first.

    Args:
        tell: gets the title of each cell of which something is carried out.
    """
    cells = cells_of(work, shard)
    watched, total = sys.stderr.isatty(), sum(map(work.size, cells))
    apart = 0.1 if watched else 30.0  # seconds between two lines, and before the first: a log gets few
    with tqdm(total=total, unit=work.unit, mininterval=apart, delay=apart) as bar:
        for cell in cells:
            bar.set_description(str(cell), refresh=watched)
            told = False
            for chunk in work.chunks(cell):
                if not work.done(cell, chunk):
                    if clock.passed():
                        return False
                    if not told:
                        tell(str(cell))
                    told = True
                    work.carry_out(cell, chunk)
                bar.update(len(chunk))
    return True


def cells_of(work: Work, shard: Shard) -> list[Any]:
    """A shard's cells: whole groups, dealt in the order in which they first occur."""
    if shard.whole:
        return list(work.cells())
    groups: dict[Hashable, int] = {}
    return [cell for cell in work.cells() if shard.holds(groups.setdefault(work.group(cell), len(groups)))]
