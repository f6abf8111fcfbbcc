"""Measures the field's known phenomena on the reference model.

    python -m stanchion.benchmark.studies.phenomena --output results/phenomena/rows.json

Made of cells of minutes. What is done is kept as a line beside the output, so an interrupted run goes on where it
stopped. The table is written beside the rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ....config import fingerprint
from ...results.row import Row, write_rows
from ...spec.paths import table_beside
from ...store.lines import Lines
from .cells import CELLS
from .harness import COMMAND, PhenomenaHarness, Plan
from .table import table

HEAD = f"""# The field's phenomena on the reference model

Made by `{COMMAND}`; 20 steps, guidance scale 4, shares with 95 % intervals.

"""


def measure(output: Path, harness: PhenomenaHarness, cells: tuple[str, ...] = tuple(CELLS)) -> list[Row]:
    """Rows of ``cells``, from the lines beside ``output`` where they are there, measured where they are not."""
    record = Lines(output.with_suffix(".parts") / "cells.jsonl", Row)
    keys = {cell: fingerprint([cell, harness.identity]) for cell in cells}
    for cell, key in keys.items():
        if record.get(key) is None:
            print(cell, flush=True)
            record.add(key, cell, list(CELLS[cell](harness)))
    made = [row for key in keys.values() for row in record.get(key) or ()]
    write_rows(output, made)
    (table_beside(output) or output.with_suffix(".md")).write_text(HEAD + table(made), encoding="utf-8")
    return made


def main() -> None:
    """Measure, write, and print the table."""
    plan = Plan()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/phenomena/rows.json"))
    parser.add_argument("--n", type=int, default=plan.n, help="pictures a number")
    parser.add_argument("--few", type=int, default=plan.few, help="pictures a number where there are many numbers")
    parser.add_argument("--searches", type=int, default=plan.searches, help="token searches")
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--cells", default=",".join(CELLS), help="comma list, default all")
    options = parser.parse_args()
    cells = tuple(options.cells.split(","))
    if unknown := sorted(set(cells) - set(CELLS)):
        parser.error(f"unknown cells {', '.join(unknown)}; known are {', '.join(CELLS)}.")
    harness = PhenomenaHarness(Plan(n=options.n, few=options.few, searches=options.searches, seed=options.seed))
    print(table(measure(options.output, harness, cells)))


if __name__ == "__main__":
    main()
