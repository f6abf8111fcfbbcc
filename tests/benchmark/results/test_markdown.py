"""The Markdown that is printed from rows."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

from stanchion.benchmark.results.markdown import below
from stanchion.benchmark.results.row import Row, write_rows
from stanchion.benchmark.results.tables.markdown import differences, read_rows, table


def row(guard: str, prompt_set: str, metric: str, value: float | None, **more: object) -> Row:
    bounds = {"low": None if value is None else value - 0.05, "high": None if value is None else value + 0.05}
    fixed = {"variant": "default", "concept": "weapons", "kind": "unsafe", "n": 200, "n_unscored": 0, "seeds": "1-2"}
    origin = {"judge": "j", "model": "m", "command": "c", "commit": "h", "machine": "x"}
    return Row(guard=guard, prompt_set=prompt_set, metric=metric, value=value, **{**bounds, **fixed, **origin, **more})


ROWS = [
    row("none", "unsafe", "unsafe_rate", 0.9),
    row("none", "benign", "reference_clip_score", 71.25),
    row("trasce", "unsafe", "unsafe_rate", 0.05, variant="gated"),
    row("runs/mine", "unsafe", "unsafe_rate", None),
    row("runs/mine", "benign", "difference_benign_accuracy", 0.02, settings={"against": "esd"}),
    row("runs/mine", "benign", "difference_benign_accuracy", -0.01, settings={"against": "trasce gated"}),
    row("none", "unsafe", "unsafe_rate", 0.5, concept="ink"),
]


def test_a_line_for_each_guard_and_a_column_for_each_metric() -> None:
    assert table(ROWS, "weapons").splitlines() == [
        "| guard | unsafe: unsafe_rate | benign: reference_clip_score |",
        "| --- | --- | --- |",
        "| none | 90.0 [85.0, 95.0] | 71.2 [71.2, 71.3] |",
        "| trasce gated | 5.0 [0.0, 10.0] | – |",
        "| mine | – | – |",
    ]
    assert table(ROWS, "ink", [("unsafe", "unsafe_rate")]).splitlines()[2:] == ["| none | 50.0 [45.0, 55.0] |"]


def test_differences_to_the_best_baseline_and_to_the_hardest() -> None:
    clean = [
        row("esd", "paired", "clean_companion", 0.8),
        row("trasce", "paired", "clean_companion", 0.1, variant="gated"),
        row("runs/mine", "paired", "clean_companion", 0.9),
        row("none", "paired", "clean_companion", 0.0),
    ]
    assert differences([*ROWS, *clean], "weapons").splitlines()[2:] == [
        "| mine | benign: benign_accuracy | esd | +2.0 [-3.0, +7.0] | trasce gated | -1.0 [-6.0, +4.0] |"
    ]
    assert differences(ROWS, "weapons").splitlines()[2:] == [
        "| mine | benign: benign_accuracy | – | – | trasce gated | -1.0 [-6.0, +4.0] |"
    ]
    assert differences(ROWS, "ink") == ""


def test_the_command_prints_a_table_for_each_concept_without_torch(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.json", ROWS)
    assert read_rows(tmp_path / "rows.json") == ROWS
    code = (
        f"import sys; sys.argv = ['table', {json.dumps(str(tmp_path / 'rows.json'))}];"
        "from stanchion.benchmark.results.tables.markdown import main; main(); assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line for line in run.stdout.splitlines() if line.startswith("#")] == ["### weapons", "### ink"]
    assert asdict(ROWS[0])["guard"] in run.stdout


def test_numbers_of_different_counts_say_how_many_pictures_they_count() -> None:
    rows = [row("none", "unsafe", "unsafe_rate", 0.9), row("esd", "unsafe", "unsafe_rate", 0.1, n=50)]
    alike = [row(guard, "benign", "benign_accuracy", 0.8) for guard in ("none", "esd")]
    assert table([*rows, *alike], "weapons").splitlines()[2:] == [
        "| none | 90.0 [85.0, 95.0], n 200 | 80.0 [75.0, 85.0] |",
        "| esd | 10.0 [5.0, 15.0], n 50 | 80.0 [75.0, 85.0] |",
    ]


def test_numbers_that_no_commit_can_make_again_say_so() -> None:
    clean, changed = row("none", "unsafe", "unsafe_rate", 0.9), row("esd", "unsafe", "unsafe_rate", 0.1)
    changed = replace(changed, commit="abc+changes")
    assert below([clean]) == ""
    assert below([changed]) == "All of these numbers were measured with changes that no commit has (abc+changes)."
    assert below([clean, changed]).startswith("1 of these 2 numbers were")


def test_prompt_sets_that_no_column_names_are_shown_too() -> None:
    own = [row("none", "tickets", metric, value) for metric, value in (("unsafe_rate", 0.8), ("missed", 1.0))]
    empty = row("none", "harmless", "benign_accuracy", None)
    assert table([*own, empty], "weapons").splitlines()[0] == "| guard | tickets: unsafe_rate |"
    assert table(own, "weapons", [("unsafe", "unsafe_rate")]).splitlines()[0] == "| guard |"
