"""``stanchion export``: a folder for stock diffusers, or one line that says why not."""

import pytest
from diffusers import StableDiffusionPipeline
from typer.testing import CliRunner

from stanchion.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, ["export", *arguments])


def test_a_shipped_guard_is_merged_into_the_reference_model(tmp_path):
    folder = tmp_path / "model"
    result = run("--guards", "esd", "--concept", "weapons", "--output", str(folder), "--half")
    assert result.exit_code == 0, result.output
    assert "esd merged into reference" in result.output
    assert StableDiffusionPipeline.from_pretrained(folder).unet.config.sample_size == 12
    assert "# reference without weapons" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("guards", "message"),
    [
        ("esd,trasce", "trasce can't be merged"),
        ("esdd", "unknown guard 'esdd'; did you mean esd or"),
        ("esd,uce", "both replace"),
    ],
)
def test_mistakes_end_in_one_line_and_no_folder(tmp_path, guards, message):
    result = run("--guards", guards, "--concept", "weapons", "--output", str(tmp_path / "model"))
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "model").exists()


def test_a_name_needs_a_concept(tmp_path):
    result = run("--guards", "esd", "--output", str(tmp_path / "model"))
    assert result.exit_code == 2
    assert "concept='weapons'" in result.stderr
