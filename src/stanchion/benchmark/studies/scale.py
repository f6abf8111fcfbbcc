"""What a benchmark loses where its work is spread: one run in one process, in several, and as tasks on a Ray cluster.

A way is a whole run into a record of its own: its processes are started and load model and judge while the clock runs,
as in any run; the cluster is there before. Efficiency is pictures a second and worker beside one process of the same
repeat. One more run on Ray has a worker killed, and its rows are compared with those of one process.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...concepts import load_concept
from ...config import Natural, Seed, checked
from ...errors import ConfigError
from ...files.writers import writers, writing
from ...metrics.intervals import rate
from ..results.row import Row
from ..run.benchmark_run import BenchmarkJob
from ..run.executors import local, ray
from ..spec.prompt_spec import Spec
from ..spec.variant import UNGUARDED, Variant
from ._timing import median
from .base import Study

WORKERS = {"local": "processes", "ray": "workers"}
CONCEPT, SETS, STEPS, SCALE = "weapons", ("unsafe", "benign", "paired", "neighbours"), 20, 4.0


@checked
@dataclass(frozen=True)
class Settings:
    """``count`` pictures of each of four prompt sets; ``workers`` of the ways with several."""

    model: str = "reference"
    count: Natural = 48
    steps: Natural = STEPS
    workers: Natural = 2
    repeats: Natural = 3
    seed: Seed = 8000


@dataclass(frozen=True)
class TimedRun:
    """What came of one run."""

    seconds: float
    rows: list[Row]


class Scale(Study):
    name = "scale"
    Settings = Settings
    timed = ("ways", "killed")

    def cells(self) -> dict[str, Callable[[], Iterator[Row]]]:
        """All ways in turn, and one worker killed."""
        return {"ways": self._ways, "killed": self._killed}

    def ways(self) -> dict[str, tuple[int, Callable[[Spec], TimedRun]]]:
        """How a run is carried out, by name, with its number of workers."""
        counts = dict.fromkeys((1, self.settings.workers))
        ways: dict[str, tuple[int, Callable[[Spec], TimedRun]]] = {}
        for name, way in (("local", _local), ("ray", _ray)):
            ways |= {f"{name}_{count}": (count, partial(way, **{WORKERS[name]: count})) for count in counts}
        return ways

    def _ways(self) -> Iterator[Row]:
        asked, ways = self.settings, self.ways()
        taken = [[run(self._spec(repeat)).seconds for _, run in ways.values()] for repeat in self._repeats()]
        rates = len(SETS) * asked.count / np.array(taken).T
        for (name, (workers, _)), values in zip(ways.items(), rates, strict=True):
            yield self._row("pictures_per_second", median(values), name, workers)
            yield self._row("efficiency", median(values / workers / rates[0]), name, workers)

    def _killed(self) -> Iterator[Row]:
        spec, workers = self._spec(self.settings.repeats), self.settings.workers
        plain, found = _local(spec, 1).rows, _ray(spec, workers, _kill_one).rows
        same = [_measured(one) == _measured(other) for one, other in zip(plain, found, strict=True)]
        yield self._row("rows_equal", rate(same), "ray_worker_killed", workers)

    def _repeats(self) -> Any:
        return tqdm(range(self.settings.repeats), desc="repeats", disable=None)

    def _spec(self, repeat: int) -> Spec:
        """Prompts of its own for each repeat."""
        asked = self.settings
        return Spec(
            seed=asked.seed + repeat * asked.count,
            concepts=(CONCEPT,),
            variants=(Variant(UNGUARDED),),
            prompts=dict.fromkeys(SETS, asked.count),
            guidance_scale=SCALE,
            steps=asked.steps,
            batch=8,
            model=asked.model,
            metrics=("unsafe_rate", "benign_accuracy", "nothing_found"),
        )

    def _row(self, metric: str, estimate: Any, way: str, workers: int) -> Row:
        asked = self.settings
        return self.row(
            metric,
            estimate,
            load_concept(CONCEPT),
            "+".join(SETS),
            variant=Variant(UNGUARDED, way),
            seeds=f"{asked.seed}-{asked.seed + (asked.repeats + 1) * asked.count - 1}",
            judge="reference",
            model=asked.model,
            settings={"steps": asked.steps, "guidance_scale": SCALE, "batch": 8, "workers": workers},
            digits=4,
        )


@contextmanager
def _record(spec: Spec) -> Iterator[BenchmarkJob]:
    """A job that this process writes, into a folder that goes."""
    with tempfile.TemporaryDirectory() as folder, writing(Path(folder)):
        yield BenchmarkJob(spec, Path(folder))


def _local(spec: Spec, processes: int) -> TimedRun:
    with _record(spec) as job:
        start = time.perf_counter()
        local.carry_out(job, processes=processes)
        return TimedRun(time.perf_counter() - start, job.open().rows("scale", "scale"))


def _ray(spec: Spec, workers: int, beside: Callable[[Path], object] | None = None) -> TimedRun:
    """On a cluster of one core a worker; ``beside`` runs in a thread, with the record's folder."""
    with _record(spec) as job, ray.cluster(ray.LOCAL, num_cpus=workers, log_to_driver=False, logging_level="error"):
        thread = threading.Thread(target=lambda: beside and beside(job.folder))
        start = time.perf_counter()
        thread.start()
        ray.carry_out(job)
        seconds = time.perf_counter() - start
        thread.join()
        return TimedRun(seconds, job.open().rows("scale", "scale"))


def _kill_one(folder: Path) -> None:
    """The first worker that is seen to have written a picture's line."""
    for _ in range(12_000):
        others = [writer.pid for writer in writers(folder) if writer.pid != os.getpid()]
        if others and any(part.stat().st_size for part in folder.glob("attempts-*.jsonl")):
            os.kill(others[0], signal.SIGKILL)
            return
        time.sleep(0.05)
    raise ConfigError("no worker was seen at work within ten minutes.")


def _measured(row: Row) -> dict[str, Any]:
    """All of a row but where and when it was made."""
    made = {"command", "commit", "machine"}
    return {name: value for name, value in asdict(row).items() if name not in made}
