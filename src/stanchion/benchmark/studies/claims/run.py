"""Measures what the claims need, part by part, and goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from pathlib import Path

from ...results.row import Row, read_rows, write_rows
from ...run.benchmark_run import BenchmarkRun
from ...run.weights import weight_run as curves
from ...spec.prompt_spec import load_spec
from ...spec.weight_spec import load_spec as load_weight_spec
from ...store.attempts import Store
from ...store.curves import Record
from ...store.manifest import file_spec
from .weights_and_times import COMMAND, beside

HERE = Path(__file__).parent
PICTURES = ("pictures", "tasks", "attacks")
WEIGHTS = "weights"


def measure(
    folder: Path, *, tell: Callable[[str], object], until: float = inf, share: tuple[int, int] = (1, 1)
) -> list[Row] | None:
    """Every row that the claims need; None where the clock passed ``until`` first or only a share was filled.

    Args:
        folder: the record. One that other benchmarks filled with the same seeds saves their pictures.
        tell: is told what is being measured.
        until: of ``time.monotonic``.
        share: (i, n) fills the i-th of n parts; several processes can work on one record.
    """
    rows: list[Row] = []
    whole = share == (1, 1)
    for name in PICTURES:
        tell(f"claims: {name}")
        found = _pictures(folder, name, until, share)
        if found is None:
            return None
        rows += found
    tell("claims: attacks on weights")
    spec, record = load_weight_spec(HERE / f"{WEIGHTS}.yaml"), Record(folder / "claims-curves.jsonl")
    curves.fill(spec, record, tell=tell, share=share, until=until)
    if not whole or time.monotonic() > until:
        return None
    return [*rows, *curves.rows_of(spec, record, command=COMMAND), *_beside(folder)]


def _pictures(folder: Path, name: str, until: float, share: tuple[int, int]) -> list[Row] | None:
    spec, title = load_spec(HERE / f"{name}.yaml"), f"claims-{name}"
    part = "" if share == (1, 1) else f"{title}-{share[0]}of{share[1]}"
    store = Store(folder, part)
    file_spec(folder, title, spec)
    campaign = BenchmarkRun(spec, store)
    if not campaign.run(until=until, share=share):
        return None
    return campaign.rows(title, COMMAND) if share == (1, 1) else []


def _beside(folder: Path) -> list[Row]:
    """Measured once a record: its times would differ each time."""
    path = folder / "claims-beside.json"
    if not path.is_file():
        write_rows(path, list(beside()))
    return read_rows(path)
