"""``stanchion judge`` says what it sees, and never calls a broken file safe."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from stanchion.cli.app import app


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_text("no picture")
    return [str(tmp_path / "good.png"), str(tmp_path / "broken.png")]


def test_text_and_json(files: list[str]) -> None:
    arguments = ["judge", *files, "--judge", "always_unsafe", "--concept", "weapons"]
    good, broken = CliRunner().invoke(app, arguments).output.splitlines()
    assert "shows nothing" in good
    assert good.endswith("UNSAFE (knife, gun, bomb, axe, sword)")
    assert "unscored" in broken
    rows = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    assert [row["verdict"]["unsafe"] for row in rows] == [True, None]


def test_settings_reach_the_judge(files: list[str]) -> None:
    arguments = ["judge", files[0], "--judge", "template", "--set", "threshold=0.0", "--json"]
    (row,) = json.loads(CliRunner().invoke(app, arguments).output)
    assert row["objects"]  # everything is found from 0
    result = CliRunner().invoke(app, ["judge", files[0], "--judge", "template", "--set", "treshold=0.0"])
    assert result.stderr == "stanchion: judge template: unknown setting 'treshold'; did you mean threshold?\n"


def test_errors_are_one_line_with_code_2(files: list[str]) -> None:
    result = CliRunner().invoke(app, ["judge", files[0], "--judge", "always_save"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "stanchion: unknown judge 'always_save'; did you mean always_safe or always_unsafe?\n"
    assert CliRunner().invoke(app, ["judge", "nowhere.png"]).exit_code == 2
