"""``stanchion attack``: the curve, the rows, the record; mistakes end in one line."""

import json

import pytest
from typer.testing import CliRunner

from stanchion.cli.app import app


def run(folder, *arguments):
    return CliRunner().invoke(app, ["attack", *arguments, "--concept", "weapons", "--output", str(folder)])


def test_an_attack_leaves_curve_rows_and_record(tmp_path):
    few = ("--n", "2", "--benign", "0", "--steps", "1", "--set", "batch=2")
    result = run(tmp_path, "finetune", "--guard", "esd", "--updates", "1", "--lr", "0.001", "--control", *few)
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["guard"] for row in rows} == {"none", "esd"}
    assert {row["concept"] for row in rows} == {"weapons", "new_objects"}
    assert {row["updates"] for row in rows if row["guard"] == "esd"} == {0, 1, None}
    assert next(row for row in rows if row["guard"] == "esd")["settings"]["lr"] == 0.001
    assert "<svg" in (tmp_path / "curve.svg").read_text()
    assert "| finetune adam, lr 0.001 | new objects: unguarded |" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("finetun", "--guard", "esd"), "unknown attack 'finetun'; did you mean finetune or"),
        (("finetune", "--guard", "esdd"), "unknown guard 'esdd'"),
        (("finetune", "--guard", "esd", "--optimiser", "lion"), "optimiser: expected one of 'sgd'"),
        (("finetune", "--guard", "esd", "--set", "ranks=3"), "finetune: unknown key 'ranks'; did you mean rank?"),
        (("swap", "--guard", "esd", "--lr", "1"), "swap: unknown key 'lr'"),
        (("finetune", "--guard", "trasce", "--model", "nowhere/x"), "trasce can't be merged: it replaces no weights"),
        (("finetune", "--guard", "esd,safree", "--model", "nowhere/x"), "safree can't be merged"),
        (("finetune", "--guard", "esd,uce", "--model", "nowhere/x"), "'esd' and 'uce' both replace"),
        (("finetune", "--guard", "esd", "--compare", "sld", "--model", "nowhere/x"), "sld can't be merged"),
        (("finetune", "--guard", "", "--model", "nowhere/x"), "a name is missing"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, arguments, message):
    result = run(tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
