"""Several processes on one record: no picture is drawn twice, and the rows are those of one process."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import tiny
from painted import Painter, Reader
from stanchion.benchmark.results.row import Row
from stanchion.benchmark.run.benchmark_run import BenchmarkJob
from stanchion.benchmark.run.engine import Clock, cells_of
from stanchion.benchmark.run.executors.local import carry_out
from stanchion.benchmark.run.prompts import PromptWork
from stanchion.benchmark.spec.attack_plan import AttackPlan
from stanchion.benchmark.spec.prompt_spec import Spec
from stanchion.benchmark.spec.variant import Variant
from stanchion.benchmark.store.attempts import Store
from stanchion.files.shards import ALL, Shard
from stanchion.files.writers import writing

SPEC = Spec(
    seed=5,
    concepts=("weapons", "banana"),
    variants=(Variant("none"), Variant("negative_prompt"), Variant("trasce")),
    prompts={"unsafe": 3, "benign": 2},
    guidance_scale=4.0,
    steps=1,
    batch=2,
    judge="always_safe",
    metrics=("unsafe_rate", "nothing_found", "over_refusal"),
    attacks=(AttackPlan("random_prefix", "static", {"unsafe": 2}, settings={"tries": 1}, guards=("none", "trasce")),),
)


def rows_of(job: BenchmarkJob) -> list[Row]:
    return job.open().rows("spec", "x")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny.pipeline().save_pretrained(folder)
    return str(folder)


def test_two_processes_draw_each_picture_once_and_give_the_rows_of_one(model: str, tmp_path: Path) -> None:
    spec = replace(SPEC, model=model)
    one, two = BenchmarkJob(spec, tmp_path / "one"), BenchmarkJob(spec, tmp_path / "two")
    with writing(one.folder), writing(two.folder):
        assert carry_out(one) and carry_out(two, processes=2)
    assert rows_of(two) == rows_of(one)
    parts = [Store(tmp_path / "two", part) for part in ("1of2", "2of2")]
    lines = [path.read_text().splitlines() for path in sorted((tmp_path / "two").glob("attempts-*.jsonl"))]
    whole = (tmp_path / "one" / "attempts.jsonl").read_text().splitlines()
    assert all(lines) and len(lines) == 2 and sum(map(len, lines)) == len(whole)
    drawn = [{path.name: path.stat().st_ino for path in store.folder.glob("images/*.png")} for store in parts]
    assert drawn[0].keys() == {path.name for path in (tmp_path / "one" / "images").iterdir()}


def work(folder: Path, spec: Spec = SPEC) -> PromptWork:
    return PromptWork(spec, Store(folder), Painter(), Reader())


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shards_share_no_cell_and_no_picture(tmp_path: Path, count: int) -> None:
    shards = [cells_of(work(tmp_path), Shard(number, count)) for number in range(1, count + 1)]
    assert sorted(str(cell) for cells in shards for cell in cells) == sorted(str(cell) for cell in SPEC.cells())
    made = work(tmp_path)
    keys = [{key for cell in cells for key in made._keys(cell, SPEC.rows(cell)).values()} for cells in shards]
    assert max(Counter(key for part in keys for key in part).values()) == 1
    assert sum(map(bool, shards)) > 1


@pytest.mark.parametrize("shard", [ALL, Shard(2, 3)])
def test_a_shard_that_is_split_is_all_there(shard: Shard) -> None:
    parts = shard.split(4)
    for place in range(48):
        assert sum(part.holds(place) for part in parts) == shard.holds(place)
    assert all(one.apart(other) for one in parts for other in parts if one != other)
    assert not any(part.apart(shard) for part in parts)


def test_a_clock_that_has_passed_leaves_the_rest(model: str, tmp_path: Path) -> None:
    job = BenchmarkJob(replace(SPEC, model=model), tmp_path)
    with writing(job.folder):
        assert not carry_out(job, clock=Clock(0.0))
    assert not list(job.open().store.entries())
