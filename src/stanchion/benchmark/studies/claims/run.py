"""Measures what the claims need, part by part, and goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ....files.shards import ALL, Shard
from ...results.row import Row, read_rows, write_rows
from ...run.benchmark_run import BenchmarkJob
from ...run.engine import NEVER, Clock
from ...run.executors.local import Job, carry_out
from ...run.weights.weight_run import WeightJob, curves_in, rows_of
from ...spec.prompt_spec import load_spec
from ...spec.weight_spec import load_spec as load_weight_spec
from ...store.manifest import file_spec
from .weights_and_times import COMMAND, beside

HERE = Path(__file__).parent
PICTURES = ("pictures", "tasks", "attacks")
WEIGHTS = "weights"


def measure(
    folder: Path,
    *,
    tell: Callable[[str], object],
    processes: int = 1,
    clock: Clock = NEVER,
    shard: Shard = ALL,
) -> list[Row] | None:
    """Every row that the claims need; None where the clock passed first or only a shard was filled.

    Args:
        folder: the record. One that other benchmarks filled with the same seeds saves their pictures.
        tell: is told what is being measured.
        processes: at the same time.
    """
    specs = {name: load_spec(HERE / f"{name}.yaml") for name in PICTURES}
    weights = WeightJob(load_weight_spec(HERE / f"{WEIGHTS}.yaml"), folder / "claims-curves.jsonl")
    jobs = {name: BenchmarkJob(spec, folder) for name, spec in specs.items()}
    every: dict[str, Job] = {**jobs, "attacks on weights": weights}
    for name, job in every.items():
        tell(f"claims: {name}")
        if name in specs:
            file_spec(folder, f"claims-{name}", specs[name])
        if not carry_out(job, processes=processes, clock=clock, shard=shard, tell=tell):
            return None
    if not shard.whole:
        return None
    rows = [row for name, one in jobs.items() for row in one.open().rows(f"claims-{name}", COMMAND)]
    return [*rows, *rows_of(weights.spec, curves_in(weights.record), command=COMMAND), *_beside(folder)]


def _beside(folder: Path) -> list[Row]:
    """Measured once a record: its times would differ each time."""
    path = folder / "claims-beside.json"
    if not path.is_file():
        write_rows(path, list(beside()))
    return read_rows(path)
