"""The measuring of the reference model: what a row is about, parts that are kept, seconds."""

import json

import pytest

from stanchion.benchmark.studies.reference_model import cost as model_cost
from stanchion.benchmark.studies.reference_model import quality as model_quality
from stanchion.benchmark.studies.reference_model.quality import Bench, kind_of, measure, rows_of
from stanchion.types import Estimate


@pytest.fixture(scope="module")
def bench():
    return Bench(n=2, seed=900_000)


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


def test_a_row_for_all_and_one_for_each_part(bench):
    measured = {"found": [("cat", True), ("cat", False), ("key", True)], "psnr": Estimate(30.0, 29.0, 31.0, 3)}
    rows = rows_of("cell", measured, bench)
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
        return model_quality.judge_on_renders(bench)

    monkeypatch.setattr(model_quality, "CELLS", {"judge_on_renders": reading})
    first = measure(tmp_path / "quality.json", n=2, seed=3)
    again = measure(tmp_path / "quality.json", n=2, seed=3)
    assert counts["readings"] == 1
    assert first == again
    assert json.loads((tmp_path / "quality.json").read_text())[0]["metric"] == "judge_set"
    assert {row.n for row in first if row.metric == "judge_set"} == {4}


def test_generated_pictures_are_asked_for_and_judged(bench, monkeypatch):
    monkeypatch.setattr(model_quality, "STEPS", 1)
    found = model_quality.singles(bench)
    assert [name for name, _ in found["object_accuracy"]] == ["knife", "gun"]
    assert len(found["background_accuracy/object_accuracy"]) == 2


def test_loading_is_timed_in_a_process_of_its_own(monkeypatch):
    seconds = model_cost.seconds_to_load(runs=1)
    assert 0 < seconds.low == seconds.high == seconds.value
