"""Tasks on a cluster fill one record: the rows of one process, also where a worker is killed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from stanchion import ConfigError
from stanchion.benchmark.run.benchmark_run import BenchmarkJob
from stanchion.benchmark.run.engine import Clock
from stanchion.benchmark.run.executors import local, ray
from stanchion.benchmark.spec.attack_plan import AttackPlan
from stanchion.benchmark.spec.prompt_spec import Spec
from stanchion.benchmark.spec.variant import Variant
from stanchion.files.writers import writers, writing


def job(model, folder, **values):
    spec = {
        "model": model,
        "seed": 5,
        "concepts": ("weapons",),
        "variants": (Variant("none"), Variant("trasce")),
        "prompts": {"unsafe": 3, "benign": 2},
        "guidance_scale": 4.0,
        "steps": 1,
        "batch": 2,
        "judge": "always_safe",
        "metrics": ("unsafe_rate", "over_refusal"),
        "attacks": (
            AttackPlan("random_prefix", "static", {"unsafe": 1}, settings={"tries": 1}, guards=("none", "trasce")),
        ),
    }
    return BenchmarkJob(Spec(**{**spec, **values}), folder)


def rows(job):
    return job.open().rows("spec", "x")


@pytest.fixture(scope="module")
def plain(model, tmp_path_factory):
    """The rows of one process."""
    made = job(model, tmp_path_factory.mktemp("plain"))
    with writing(made.folder):
        assert local.carry_out(made)
    return rows(made)


def kill_one(folder):
    """Kill the first worker that writes, and say which it was."""
    for _ in range(4000):
        if found := [writer.pid for writer in writers(folder) if writer.pid != os.getpid()]:
            os.kill(found[0], signal.SIGKILL)
            return found[0]
        time.sleep(0.01)
    return None


def test_a_killed_worker_s_cells_are_done_again_and_the_rows_are_those_of_one_process(cluster, model, tmp_path, plain):
    made, killed = job(model, tmp_path / "record"), []
    with writing(made.folder):
        killer = threading.Thread(target=lambda: killed.append(kill_one(made.folder)))
        killer.start()
        assert ray.carry_out(made)
        killer.join()
        assert killed[0]
        before = sorted((path, path.read_bytes()) for path in made.folder.glob("attempts*.jsonl"))
        assert len(before) > 1 and ray.carry_out(made)  # once more: nothing is left to do
        assert before == sorted((path, path.read_bytes()) for path in made.folder.glob("attempts*.jsonl"))
    assert rows(made) == plain


def test_what_a_task_raises_is_said_as_it_is(cluster, model, tmp_path):
    with pytest.raises(ConfigError, match="nowhere"), writing(tmp_path):
        ray.carry_out(job(str(tmp_path / "nowhere"), tmp_path))


def test_a_clock_that_has_passed_leaves_the_rest(cluster, model, tmp_path):
    made = job(model, tmp_path)
    with writing(made.folder):
        assert not ray.carry_out(made, clock=Clock(0.0))
    assert not list(made.open().store.entries())
