"""Markdown tables from committed rows: a line for each guard, a column for each metric, a table for each concept.

    python -m stanchion.benchmark.results.tables.markdown results/forceforget/rows.json

Rates are in per cent, differences in points; brackets hold the 95 % interval. Where a column's numbers count different
numbers of pictures, each says how many.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from ...spec.attack_plan import DIRECT
from ..markdown import NOTHING, below, mixed, said
from ..markdown import table as markdown
from ..row import Row, read_rows
from ..units import DIFFERENCE
from .heatmap import heatmap

Column = tuple[str, str]  # prompt set, metric
WHAT = (
    "Rates are in per cent, differences in points; brackets hold the 95 % interval. Where the numbers of a column, or "
    "of an attack, count different numbers of pictures, each says how many."
)

COLUMNS: tuple[Column, ...] = (
    ("unsafe", "unsafe_rate"),
    ("unsafe", "nothing_found"),
    ("synonyms", "unsafe_rate"),
    ("paired", "unsafe_rate"),
    ("paired", "companion_kept"),
    ("paired", "clean_companion"),
    ("neighbours", "neighbours_kept"),
    ("benign", "benign_accuracy"),
    ("benign", "over_refusal"),
    ("benign", "reference_clip_score"),
    ("benign", "drift"),
    *((f"i2i_{asks}_{strength}", "unsafe_rate") for asks in ("unsafe", "empty", "benign") for strength in (50, 75)),
)

OF_OTHERS = ("unsafe_rate", "clean_companion", "neighbours_kept", "benign_accuracy", "over_refusal")  # of other sets


def table(rows: Sequence[Row], concept: str, columns: Sequence[Column] = COLUMNS) -> str:
    """Markdown of one concept: guards in the order of the rows; columns that nobody has are left out."""
    cells = {(row.title, row.prompt_set, row.metric): row for row in rows if row.concept == concept}
    shown = [column for column in columns if any(key[1:] == column for key in cells)]
    if columns is COLUMNS:
        shown += _of_others(list(cells.values()))
    counted = {column for column in shown if mixed(row for key, row in cells.items() if key[1:] == column)}
    heads, lines = ["guard", *(f"{prompt_set}: {metric}" for prompt_set, metric in shown)], []
    for guard in dict.fromkeys(key[0] for key in cells):
        lines.append([guard, *(_cell(cells.get((guard, *column)), column in counted) for column in shown)])
    return markdown(heads, lines)


def _of_others(rows: Sequence[Row]) -> list[Column]:
    """What is shown of prompt sets that no column names, a user's own among them."""
    known = {prompt_set for prompt_set, _ in COLUMNS}
    have = {(row.prompt_set, row.metric) for row in rows if row.value is not None}
    sets = dict.fromkeys(row.prompt_set for row in rows if row.prompt_set not in known)
    return [(name, metric) for name in sets for metric in OF_OTHERS if (name, metric) in have]


def attacks(rows: Sequence[Row]) -> str:
    """Markdown of one concept: a line an attack, what it brings back from each guard; empty without any."""
    found = heatmap(rows)
    if found is None:
        return ""
    heads, lines = ["attack", "kind", "prompts", *found.guards], []
    for line in found.lines:
        counted = len({cell.counted for cell in line.cells if cell}) > 1
        cells = [
            f"{cell.text} {cell.interval}".strip() + (f", {cell.counted}" if counted else "") if cell else NOTHING
            for cell in line.cells
        ]
        lines.append([line.attack, line.kind, line.prompt_set, *cells])
    return markdown(heads, lines)


def page(name: str, rows: Sequence[Row]) -> str:
    """The file ``table.md`` of a spec's rows."""
    commands = " and ".join(f"`{command}`" for command in dict.fromkeys(row.command for row in rows))
    return "\n\n".join([f"# {name}", f"Made by {commands}. {WHAT}", *_sections(rows, "##", COLUMNS)]) + "\n"


def _sections(rows: Sequence[Row], level: str, columns: Sequence[Column]) -> list[str]:
    """Every concept's tables, each under its head."""
    parts = []
    for concept in dict.fromkeys(row.concept for row in rows):
        here = [row for row in rows if row.concept == concept]
        direct = [row for row in here if row.attack == DIRECT]
        tables = (table(direct, concept, columns), differences(direct, concept), attacks(here), below(here))
        parts += [f"{level} {concept}", *filter(None, tables)]
    return parts


def differences(rows: Sequence[Row], concept: str) -> str:
    """Markdown of one concept: each compared guard against two baselines in each metric; empty without any.

    The best baseline has the highest ``clean_companion``. The hardest is the one that the guard looks worst against
    in this metric: often one that changes little, the concept included.
    """
    heads, lines = ["guard", "prompts: metric", "best baseline", "points", "hardest baseline", "points"], []
    here = [row for row in rows if row.concept == concept]
    found = [row for row in here if row.metric.startswith(DIFFERENCE) and row.value is not None]
    best = best_baseline(here, {row.settings["against"] for row in found})
    for guard, prompt_set, metric in dict.fromkeys((row.title, row.prompt_set, row.metric) for row in found):
        alike = [row for row in found if (row.title, row.prompt_set, row.metric) == (guard, prompt_set, metric)]
        to_best = next((row for row in alike if row.settings["against"] == best), None)
        hardest = min(alike, key=lambda row: (row.value, row.low))
        against = [best or "–", said(to_best), hardest.settings["against"], said(hardest)]
        lines.append([guard, f"{prompt_set}: {metric.removeprefix(DIFFERENCE)}", *against])
    return markdown(heads, lines) if found else ""


def best_baseline(rows: Sequence[Row], baselines: Collection[str]) -> str | None:
    """Of one concept's rows: who of ``baselines`` has the highest ``clean_companion``; None where nobody has any."""
    known = [row for row in rows if row.metric == "clean_companion" and row.value is not None]
    clean = [(row.value, row.title) for row in known if row.title in baselines]
    return max(clean)[1] if clean else None


def _cell(row: Row | None, counted: bool) -> str:
    """With the number of pictures where others of its column count another."""
    return f"{said(row)}, n {row.n}" if row and counted else said(row)


def _column(text: str) -> Column:
    prompt_set, _, metric = text.partition("/")
    return prompt_set, metric


def main() -> None:
    """Print every concept's tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--columns", nargs="*", type=_column, default=COLUMNS, help="such as unsafe/unsafe_rate")
    options = parser.parse_args()
    sys.stdout.write("\n\n".join(_sections(read_rows(options.rows), "###", options.columns)) + "\n\n")


if __name__ == "__main__":
    main()
