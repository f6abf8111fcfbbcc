"""Attacks a model's weights as a spec says, and writes the curves' rows.

    python -m stanchion.benchmark.run.weights results/patronus_finetune/spec.yaml

A cell takes minutes; what is done is kept as a line in SPEC.parts, so an interrupted run goes on where it stopped.
``--processes N`` works on several cells at once; so do two machines on one record, one with ``--shard 1/2`` and one
with ``--shard 2/2``, and a last run without it writes the rows, and a table beside a ``rows.json``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ....files.shards import Shard
from ....files.writers import Part, writing
from ....pipeline.loading import without_progress_bars
from ...results.row import write_rows
from ...results.tables.curve_table import page
from ...spec.paths import name_of, rows_beside, table_beside
from ...spec.weight_spec import load_spec
from ..engine import Clock
from ..executors.local import carry_out
from .weight_run import WeightJob, curves_in, rows_of

COMMAND = "python -m stanchion.benchmark.run.weights"


def main() -> None:
    """Fill the record, and write the rows of all that is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--shard", help="I/N: only the I-th of N parts of the cells; writes no rows")
    parser.add_argument("--processes", type=int, default=1, help="that work at the same time")
    parser.add_argument("--minutes", type=float, help="begin no cell after so long")
    options = parser.parse_args()
    without_progress_bars()
    job = WeightJob(load_spec(options.spec), options.spec.with_suffix(".parts") / "curves.jsonl")
    shard, clock = Shard.parse(options.shard), Clock.after(options.minutes)
    with writing(job.folder, Part(shard=shard)):
        carry_out(
            job, processes=options.processes, clock=clock, shard=shard, tell=lambda title: print(title, flush=True)
        )
    if shard.whole:
        spec, record = job.spec, curves_in(job.record)
        rows = rows_of(spec, record, command=f"{COMMAND} {options.spec}")
        write_rows(target := rows_beside(options.spec), rows)
        if beside := table_beside(target):
            beside.write_text(page(name_of(options.spec), rows), encoding="utf-8")


if __name__ == "__main__":
    main()
