"""``stanchion export``: a folder for stock diffusers, or one line that says why not."""

import pytest
from diffusers import StableDiffusionPipeline
from typer.testing import CliRunner

from stanchion import load_guard
from stanchion.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, ["export", *arguments])


def test_a_shipped_guard_is_merged_into_the_reference_model(tmp_path):
    folder = tmp_path / "model"
    result = run("--guards", "esd", "--concept", "weapons", "--output", str(folder), "--half")
    assert result.exit_code == 0, result.output
    assert "esd merged into reference" in result.output
    stock = StableDiffusionPipeline.from_pretrained(folder)
    assert stock.unet.config.sample_size == 12
    assert len(stock("a cat", num_inference_steps=1).images) == 1
    assert "# reference without weapons" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("guards", "message"),
    [
        ("esd,trasce", "trasce can't be merged"),
        ("esdd", "unknown guard 'esdd'; did you mean esd or"),
        ("esd,uce", "both replace"),
        ("fast", "steerdiff can't be merged"),
    ],
)
def test_mistakes_end_in_one_line_and_no_folder(tmp_path, guards, message):
    result = run("--guards", guards, "--concept", "weapons", "--output", str(tmp_path / "model"))
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "model").exists()


def saved(folder, concept):
    load_guard("esd", concept=concept).save(folder)
    return str(folder)


def test_a_concept_that_no_guard_takes_must_be_their_own(tmp_path):
    guard = saved(tmp_path / "mine", "weapons")
    result = run("--guards", guard, "--concept", "horror", "--output", str(tmp_path / "model"))
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"stanchion: {guard} was made against weapons, not horror; leave --concept out."
    ]
    assert not (tmp_path / "model").exists()
    assert run("--guards", guard, "--concept", "weapons", "--output", str(tmp_path / "model")).exit_code == 0


@pytest.mark.parametrize("concept", ["", "wepons"])
def test_a_concept_that_nobody_knows_is_never_passed_over(tmp_path, concept):
    result = run("--guards", "esd", "--concept", concept, "--output", str(tmp_path / "model"))
    assert result.exit_code == 2
    assert "no concept and no YAML file" in result.stderr


def test_a_name_needs_a_concept(tmp_path):
    result = run("--guards", "esd", "--output", str(tmp_path / "model"))
    assert result.exit_code == 2
    assert "say what it guards against, with --concept weapons" in result.stderr


def test_a_lora_is_written_and_its_mistakes_are_one_line(tmp_path):
    result = run("--guards", "uce", "--concept", "banana", "--output", str(tmp_path / "lora"), "--format", "lora")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "lora").iterdir())
    assert names == ["README.md", "pytorch_lora_weights.safetensors"]
    for more, message in ((["--half"], "of --format diffusers"), ([], "not empty")):
        again = run(
            "--guards", "uce", "--concept", "banana", "--output", str(tmp_path / "lora"), "--format", "lora", *more
        )
        assert again.exit_code == 2
        assert message in again.stderr
