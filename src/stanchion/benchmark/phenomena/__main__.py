"""Measures the field's known phenomena on the reference model.

    python -m stanchion.benchmark.phenomena --output results/phenomena.json

Made of cells of minutes. What is done is kept as a line beside the output, so an interrupted run goes on where it
stopped. The table is written beside the rows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ..rows import Row, write_rows
from .cells import CELLS
from .lab import COMMAND, Lab, Plan
from .table import table

HEAD = f"""# The field's phenomena on the reference model

Made by `{COMMAND}`; 20 steps, guidance scale 4, shares with 95 % intervals.

"""


def measure(output: Path, lab: Lab, cells: tuple[str, ...] = tuple(CELLS)) -> list[Row]:
    """Rows of ``cells``, from the lines beside ``output`` where they are there, measured where they are not."""
    lines = output.with_suffix(".parts") / "cells.jsonl"
    lines.parent.mkdir(parents=True, exist_ok=True)
    done = {(cell, of): rows for cell, of, rows in _read(lines)}
    for cell in cells:
        if (cell, lab.identity) not in done:
            print(cell, flush=True)
            rows = [asdict(row) for row in CELLS[cell](lab)]
            done[cell, lab.identity] = rows
            with lines.open("a", encoding="utf-8") as file:
                file.write(
                    f"\n{json.dumps([cell, lab.identity, rows])}\n"
                )  # on a line of its own, whatever stands before
    made = [Row(**values) for cell in cells for values in done[cell, lab.identity]]
    write_rows(output, made)
    output.with_suffix(".md").write_text(HEAD + table(made), encoding="utf-8")
    return made


def _read(path: Path) -> Iterator[list]:
    """The lines that are whole: a process that was killed may leave a torn one."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(ValueError):
            yield json.loads(line)


def main() -> None:
    """Measure, write, and print the table."""
    plan = Plan()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/phenomena.json"))
    parser.add_argument("--n", type=int, default=plan.n, help="pictures a number")
    parser.add_argument("--few", type=int, default=plan.few, help="pictures a number where there are many numbers")
    parser.add_argument("--searches", type=int, default=plan.searches, help="token searches")
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--cells", default=",".join(CELLS), help="comma list, default all")
    options = parser.parse_args()
    cells = tuple(options.cells.split(","))
    if unknown := sorted(set(cells) - set(CELLS)):
        parser.error(f"unknown cells {', '.join(unknown)}; known are {', '.join(CELLS)}.")
    lab = Lab(Plan(n=options.n, few=options.few, searches=options.searches, seed=options.seed))
    print(table(measure(options.output, lab, cells)))


if __name__ == "__main__":
    main()
