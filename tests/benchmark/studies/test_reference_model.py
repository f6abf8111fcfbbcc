"""The measuring of the reference model: what a row is about, parts that are kept, seconds."""

import pytest
from PIL import Image

from stanchion.benchmark.studies._reference_model import cells, cost, grid
from stanchion.benchmark.studies._reference_model.bench import Bench
from stanchion.benchmark.studies._reference_model.cells import kind_of
from stanchion.benchmark.studies.base import StudyJob
from stanchion.benchmark.studies.reference_model import ReferenceModel, Settings
from stanchion.types import Estimate


@pytest.fixture(scope="module")
def bench():
    return Bench(n=2, seed=900_000, steps=1)


@pytest.mark.parametrize(
    ("metric", "concept", "kind"),
    [
        ("stand_ins_in_empty", "all", "unsafe"),
        ("object_accuracy", "knife", "object"),
        ("object_accuracy", "all", "object"),
        ("style_accuracy", "all", "style"),
        ("style_accuracy", "ink", "style"),
        ("judge_background", "beach", "object"),
        ("psnr", "all", "object"),
    ],
)
def test_what_a_row_is_about(metric, concept, kind):
    assert kind_of(metric, concept) == kind


def test_a_row_for_all_and_one_for_each_part(tmp_path):
    measured = {"found": [("cat", True), ("cat", False), ("key", True)], "psnr": Estimate(30.0, 29.0, 31.0, 3)}
    rows = ReferenceModel(Settings(n=2), tmp_path).rows_of("cell", measured)
    assert [(row.metric, row.concept, row.value, row.n) for row in rows] == [
        ("found", "all", 0.6667, 3),
        ("found", "cat", 0.5, 2),
        ("found", "key", 1.0, 1),
        ("psnr", "all", 30.0, 3),
    ]


def test_cells_that_are_done_are_not_measured_again(tmp_path, monkeypatch):
    counts = {"readings": 0}

    def reading(bench):
        counts["readings"] += 1
        return {"judge_set": [("", True)] * bench.n}

    monkeypatch.setitem(cells.CELLS, "judge_on_renders", reading)
    job = StudyJob("reference_model", Settings(n=2, seed=3), tmp_path)
    for _ in range(2):
        work = job.works()[0]
        if not work.done("judge_on_renders", ["judge_on_renders"]):
            work.carry_out("judge_on_renders", ["judge_on_renders"])
    assert counts["readings"] == 1
    (row,) = job.works()[0].rows("judge_on_renders")
    assert (row.metric, row.value, row.n, row.seeds) == ("judge_set", 1.0, 2, "3-4")
    assert [work.cells()[-1] for work in job.works()] == ["grid", "cost"]


def test_the_judge_is_measured_on_renders(bench):
    assert len(cells.judge_on_renders(bench)["judge_set"]) == 4


def test_generated_pictures_are_asked_for_and_judged(bench):
    found = cells.singles(bench)
    assert [name for name, _ in found["object_accuracy"]] == ["knife", "gun"]
    assert len(found["background_accuracy/object_accuracy"]) == 2


def test_the_sample_grid_lies_beside_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "prompts", lambda: ["a cat", "a key"])
    monkeypatch.setattr(grid, "COLUMNS", 2)
    assert ReferenceModel(Settings(n=2, steps=1), tmp_path).cells()["grid"]() == []
    with Image.open(tmp_path / "grid.png") as drawn:
        assert drawn.width > 2 * 48


def test_loading_is_timed_in_a_process_of_its_own(monkeypatch):
    seconds = cost.seconds_to_load(runs=1)
    assert 0 < seconds.low == seconds.high == seconds.value
