"""Two measurements side by side: paired where they can be, never surer than the intervals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recorded import SPEC, Careless, record, row
from stanchion.benchmark.results.compare import Change, compare
from stanchion.benchmark.results.row import write_rows
from stanchion.cli.app import app
from stanchion.errors import ConfigError

MANY = replace(SPEC, concepts=("weapons",), prompts={"unsafe": 40, "paired": 10, "benign": 10})


def of(changes: list[Change], guard: str, prompt_set: str, metric: str) -> Change:
    (found,) = [
        change
        for change in changes
        if (change.first.guard, change.first.prompt_set, change.first.metric) == (guard, prompt_set, metric)
    ]
    return found


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("records")
    first = record(folder / "first", MANY, painter=Careless())
    return first, record(folder / "second", MANY, painter=Careless(*range(15, 25)))


def test_records_are_paired_by_prompt_and_seed(records: tuple[Path, Path]) -> None:
    changes = compare(*records)
    worse = of(changes, "negative_prompt", "unsafe", "unsafe_rate")
    assert (worse.n, worse.difference, worse.outcome) == (40, 0.25, "worse")
    assert worse.low is not None
    assert 0 < worse.low < 0.25
    unguarded = of(changes, "none", "unsafe", "unsafe_rate")
    assert (unguarded.n, unguarded.difference, unguarded.outcome) == (40, 0.0, "same")
    assert of(compare(*reversed(records)), "negative_prompt", "unsafe", "unsafe_rate").outcome == "better"
    mean = of(changes, "negative_prompt", "benign", "benign_loss")  # no rate: there is no paired interval for it
    assert (mean.n, mean.low, mean.outcome) == (0, None, "same")


def test_other_seeds_are_compared_by_their_intervals(records: tuple[Path, Path], tmp_path: Path) -> None:
    other = record(tmp_path, replace(MANY, seed=500), painter=Careless(*range(510, 530)))
    change = of(compare(records[0], other), "negative_prompt", "unsafe", "unsafe_rate")
    assert (change.n, change.low, change.outcome) == (0, None, "worse")
    assert change.difference == pytest.approx(0.5)


def test_files_of_rows_are_compared_by_their_intervals(tmp_path: Path) -> None:
    sides = []
    for name, value in (("first", 0.1), ("second", 0.3)):
        rows = [
            row("esd", "unsafe_rate", value, value - 0.05, value + 0.05),
            row("uce", "unsafe_rate", value, value - 0.15, value + 0.15),
            row("sld", "unsafe_rate", None),
            row("esd", "benign_accuracy", value, value - 0.05, value + 0.05, prompt_set="benign"),
            row("esd", "of_another_package", value, value, value),
            row(f"only {name}", "unsafe_rate", 0.5),
        ]
        write_rows(tmp_path / f"{name}.json", rows)
        sides.append(tmp_path / f"{name}.json")
    outcomes = [(change.first.guard, change.first.metric, change.outcome) for change in compare(*sides)]
    assert outcomes == [
        ("esd", "unsafe_rate", "worse"),
        ("uce", "unsafe_rate", "same"),
        ("esd", "benign_accuracy", "better"),
        ("esd", "of_another_package", "changed"),
    ]


def test_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    write_rows(tmp_path / "first.json", [row("esd", "unsafe_rate", 0.1)])
    write_rows(tmp_path / "second.json", [row("uce", "unsafe_rate", 0.1)])
    with pytest.raises(ConfigError, match="nothing in common"):
        compare(tmp_path / "first.json", tmp_path / "second.json")
    (tmp_path / "broken.json").write_text("no rows")
    with pytest.raises(ConfigError, match="can't be read as rows"):
        compare(tmp_path / "first.json", tmp_path / "broken.json")


def test_the_command_shows_what_changed(records: tuple[Path, Path]) -> None:
    arguments = ["compare", *map(str, records)]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    assert "40 pairs" in shown.output
    assert "none  " not in shown.output
    assert "worse" in shown.output.splitlines()[1]
    assert "none  " in CliRunner().invoke(app, [*arguments, "--all"]).output
    (worst, *_) = [
        change for change in json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output) if change["paired"]
    ]
    assert {"guard", "concept", "metric", "first", "second", "difference", "outcome"} <= set(worst)
