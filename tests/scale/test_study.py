"""The study of scale: every way has its rows, and a killed worker changes none."""

import subprocess
import sys

import pytest

from stanchion.benchmark.results.row import read_rows
from stanchion.benchmark.studies.scale import Scale, Settings


def test_a_way_is_one_worker_or_several(tmp_path):
    assert list(Scale(Settings(), tmp_path).ways()) == ["local_1", "local_2", "ray_1", "ray_2"]
    assert list(Scale(Settings(workers=1), tmp_path).ways()) == ["local_1", "ray_1"]


def test_every_way_has_its_rows_and_a_killed_worker_changes_none(tmp_path):
    """In a process of its own: it starts clusters, and other tests here have one."""
    pytest.importorskip("ray")
    values = ("count=2", "steps=1", "repeats=1")
    words = [word for value in values for word in ("--set", value)]
    command = [sys.executable, "-m", "stanchion", "study", "scale", *words, "--output", str(tmp_path)]
    subprocess.run([*command, "--record", str(tmp_path / "record")], check=True, capture_output=True)
    rows = read_rows(tmp_path / "rows.json")
    assert {(row.variant, row.metric) for row in rows} == {
        *((f"{name}_{count}", metric) for name in ("local", "ray") for count in (1, 2)
          for metric in ("pictures_per_second", "efficiency")),
        ("ray_worker_killed", "rows_equal"),
    }  # fmt: skip
    assert rows[-1].value == 1.0 and rows[1].value == 1.0
