"""The one place that writes Markdown tables of rows, and says below them what their numbers don't."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .row import Row
from .units import Unit, unit_of

NOTHING = "–"
WHOLE_SHARE = Unit("%", 100, ".0f")


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Markdown, without a line break at its end."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *lines))


def said(row: Row | None, unit: Unit | None = None, *, sign: str = "", nothing: str = NOTHING) -> str:
    """Value and 95 % interval, in the metric's unit unless another is given; a bound that nobody knows is "?".

    Args:
        sign: behind the value.
        nothing: where there is no row, or nothing of it could be scored.
    """
    if row is None or row.value is None:
        return nothing
    unit = unit or unit_of(row.metric)
    return f"{unit.number(row.value)}{sign} {unit.interval(row.low, row.high)}"


def share(row: Row | None) -> str:
    """In whole per cent, with the sign."""
    return said(row, WHOLE_SHARE, sign=" %")


def mixed(rows: Iterable[Row]) -> bool:
    """Whether numbers beside one another count different numbers of pictures: then each of them says how many."""
    return len({row.n for row in rows}) > 1


def below(rows: Sequence[Row]) -> str:
    """What stands below a table of such rows: whether they can be made again; empty where all of them can."""
    changed = [row for row in rows if row.from_changes]
    if not changed:
        return ""
    which = "All of these numbers" if len(changed) == len(rows) else f"{len(changed)} of these {len(rows)} numbers"
    commits = ", ".join(sorted({row.commit for row in changed}))
    return f"{which} were measured with changes that no commit has ({commits})."
