"""Measures the field's known phenomena on the reference model.

    python -m stanchion.benchmark.studies.phenomena --output results/phenomena.json

Made of cells of minutes. What is done is kept as a line beside the output, so an interrupted run goes on where it
stopped. The table is written beside the rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from .... import config
from ....errors import ConfigError
from ....files.documents import json_line, parse_json_lines
from ...results.row import Row, write_rows
from .cells import CELLS
from .harness import COMMAND, Lab, Plan
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
            rows = done[cell, lab.identity] = list(CELLS[cell](lab))
            with lines.open("a", encoding="utf-8") as file:
                line = json_line([cell, lab.identity, [asdict(row) for row in rows]])
                file.write(f"\n{line}\n")  # on a line of its own, whatever stands before
    made = [row for cell in cells for row in done[cell, lab.identity]]
    write_rows(output, made)
    output.with_suffix(".md").write_text(HEAD + table(made), encoding="utf-8")
    return made


def _read(path: Path) -> Iterator[tuple[str, str, list[Row]]]:
    """The lines that are whole: a process that was killed may leave a torn one."""
    raw = path.read_bytes() if path.exists() else b""
    for place, line in parse_json_lines(raw, str(path), torn=True):
        if not (isinstance(line, list) and len(line) == 3 and all(isinstance(text, str) for text in line[:2])):
            raise ConfigError(f"{place}: expected cell, identity and rows; take the line out.")
        yield line[0], line[1], config.restore(list[Row], line[2], where=place)


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
