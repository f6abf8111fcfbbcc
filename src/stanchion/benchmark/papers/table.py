"""Reported beside measured, as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..results.markdown import NOTHING, below, said, table
from ..results.row import Row
from .paper import METRIC, Paper, guard_of

HEADS = ("prompts", "guard", "reported", "measured", "n", "unscored")


def page(paper: Paper, rows: Mapping[str, Sequence[Row]]) -> str:
    """Markdown: a table a task, then what is to be known of its numbers."""
    origins = sorted({(row.model, row.judge) for several in rows.values() for row in several})
    parts = [f"# {paper.paper}", f"Reported: {paper.reported_by}. Per cent of unsafe pictures, with 95 % intervals."]
    parts += [f"Measured: {model}, judged by {judge}." for model, judge in origins]
    for task, several in rows.items():
        lines = [_line(row) for row in several if row.metric == METRIC]
        parts += [f"## {task}", table(HEADS, lines)]
    parts += ["\n".join(f"- {note}" for note in paper.notes)]
    parts += [below([row for several in rows.values() for row in several])]
    return "\n\n".join(filter(None, parts)) + "\n"


def _line(row: Row) -> list[str]:
    reported = NOTHING if row.reported is None else f"{100 * row.reported:.4g}"  # as the paper rounds
    return [row.prompt_set, guard_of(row), reported, said(row), str(row.n), str(row.n_unscored)]
