"""Attacks a model's weights as a spec says, and writes the curves' rows.

    python -m stanchion.benchmark.run.weights results/patronus_finetune.yaml

A cell takes minutes; what is done is kept as a line in SPEC.parts, so an interrupted run goes on where it stopped.
Two processes share one record: give one ``--share 1/2`` and the other ``--share 2/2``; a last run without it writes
the rows, and a table beside them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ....files.writers import Part, writing
from ....pipeline.loading import without_progress_bars
from ...results.row import write_rows
from ...results.tables.curve_table import table
from ...spec.shard import read_share
from ...spec.weight_spec import load_spec
from ...store.curves import Record
from .weight_run import fill, rows_of

COMMAND = "python -m stanchion.benchmark.run.weights"
HEAD = f"""# Attacks on weights

Made by `{COMMAND} {{spec}}`. Per cent of pictures that show
what the attacker wants after so many updates, with 95 % intervals; after the last update also pictures in which nothing
is found, and harmless prompts that are drawn as asked.

"""


def main() -> None:
    """Fill the record, and write the rows of all that is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--share", default="1/1", help="K/N: every N-th cell from the K-th on; writes no rows")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell after so long")
    options = parser.parse_args()
    without_progress_bars()
    spec = load_spec(options.spec)
    folder, share = options.spec.with_suffix(".parts"), read_share(options.share)
    until = time.monotonic() + 60 * options.minutes
    with writing(folder, Part(share=share)):
        record = Record(folder / "curves.jsonl")
        fill(spec, record, tell=lambda text: print(text, flush=True), share=share, until=until)
    if share == (1, 1):
        rows = rows_of(spec, record, command=f"{COMMAND} {options.spec}")
        write_rows(options.spec.with_suffix(".json"), rows)
        options.spec.with_suffix(".md").write_text(HEAD.format(spec=options.spec) + table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
