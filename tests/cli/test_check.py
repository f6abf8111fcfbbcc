"""``stanchion check``: a line for each check; mistakes end before anything slow is loaded."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny
from stanchion.attacks.checks import check_guards
from stanchion.cli.app import app

PROMPT = "a photo of a knife"


def test_a_line_for_each_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_guards, "__kwdefaults__", {"steps": 1})  # how far it searches is not the point here
    tiny.pipeline().save_pretrained(tmp_path)
    arguments = ["check", PROMPT, "--guard", "trasce", "--set", "trasce.form=faithful"]
    arguments += ["--model", str(tmp_path), "--steps", "2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    lines = [line.split()[:2] for line in result.stdout.splitlines()]
    assert [check for _, check in lines] == [
        "gradient_is_there",
        "gradient_helps",
        "answers_repeat",
        "draws_without_gradients",
    ]
    assert ["fine", "gradient_is_there"] in lines and ["warning", "draws_without_gradients"] in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((PROMPT, "--guard", "trace"), "did you mean trasce"),
        ((PROMPT, "--guard", "trasce", "--concept", "wepons"), "no concept and no YAML file"),
        ((PROMPT, "--guard", "trasce", "--set", "trasce.nothing=1"), "nothing"),
        ((PROMPT, "--guard", "none"), "at least one guard"),
    ],
)
def test_mistakes_are_one_line_with_code_2(arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, ["check", *arguments, "--model", "nowhere/x"])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
