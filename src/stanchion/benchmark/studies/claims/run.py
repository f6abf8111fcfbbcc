"""Measures what the claims need, part by part, and goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .... import registry
from ....files.shards import ALL, Shard
from ...results.row import Row
from ...run.benchmark_run import BenchmarkJob
from ...run.engine import NEVER, Clock
from ...run.executors.local import Job, carry_out
from ...run.weights.weight_run import WeightJob, curves_in
from ...run.weights.weight_run import rows_of as curve_rows_of
from ...spec.prompt_spec import load_spec
from ...spec.weight_spec import load_spec as load_weight_spec
from ...store.manifest import file_spec
from ..base import StudyJob, rows_of

HERE = Path(__file__).parent
PICTURES = ("pictures", "tasks", "attacks")
WEIGHTS, BESIDE = "weights", "weights_and_times"
COMMAND = "stanchion bench claims"


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
    beside = StudyJob(BESIDE, registry.get("studies", BESIDE).Settings(), folder / f"claims-{BESIDE}")
    every: dict[str, Job] = {**jobs, "attacks on weights": weights, "weights and times": beside}
    for name, job in every.items():
        tell(f"claims: {name}")
        if name in specs:
            file_spec(folder, f"claims-{name}", specs[name])
        if not carry_out(job, processes=processes, clock=clock, shard=shard, tell=tell):
            return None
    if not shard.whole:
        return None
    rows = [row for name, one in jobs.items() for row in one.open().rows(f"claims-{name}", COMMAND)]
    rows += curve_rows_of(weights.spec, curves_in(weights.record), command=COMMAND)
    return rows + rows_of(beside)
