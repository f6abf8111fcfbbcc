"""``stanchion bench``, then ``stanchion report``, on a real pipeline of tiny size; limits decide the exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny
from stanchion.cli.app import app

SPEC = """
model: {model}
judge: always_unsafe
seed: 5
steps: 2
batch: 4
guidance_scale: 2.0
concepts: [weapons]
prompts: {{unsafe: 2, benign: 2}}
metrics: [unsafe_rate, nothing_found, seconds_per_image]
variants:
  - guard: none
  - guard: negative_prompt
attacks:
  - {{attack: seed_search, mode: adaptive, prompts: {{unsafe: 2}}, settings: {{seeds: 2}}}}
"""


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A spec, and the record that it filled."""
    folder = tmp_path_factory.mktemp("bench")
    tiny.pipeline().save_pretrained(folder / "model")
    spec = folder / "tiny.yaml"
    spec.write_text(SPEC.format(model=folder / "model"))
    assert bench(spec, folder / "record").exit_code == 0
    return spec, folder / "record"


def bench(spec: Path, folder: Path, *more: str):
    return CliRunner().invoke(app, ["bench", str(spec), "--output", str(folder), "--grid", "0", *more])


def report(folder: Path, *more: str):
    return CliRunner().invoke(app, ["report", str(folder), *more])


def test_a_report_from_the_command_line_needs_no_torch(benched: tuple[Path, Path], tmp_path: Path) -> None:
    _, record = benched
    code = (
        "import sys; from stanchion.cli import main\n"
        f"sys.argv = ['stanchion', 'report', {str(record)!r}, '--output', {str(tmp_path)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(tmp_path / f"report.{ending}") for ending in ("html", "md", "json")]
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["n_pictures"] > 8  # four prompts twice, and what the attack asked for
    assert told["runs"][0]["origin"]["model"].startswith("StableDiffusionPipeline ")
    assert told["runs"][0]["origin"]["guards"]["negative_prompt, weapons"]
    html = (tmp_path / "report.html").read_text()
    assert html.count("data:image/webp") > 4
    assert "always_unsafe 1" in html
    assert "time of a picture" in html
    assert "seed_<wbr>search" in html
    attacked = [row for row in told["concepts"][0]["rows"] if (row["attack"], row["metric"]) == ("seed_search", "asr")]
    assert [row["value"] for row in attacked] == [1.0, 1.0]  # whatever is drawn, this judge finds it unsafe


def test_gates_decide_the_exit_code(benched: tuple[Path, Path]) -> None:
    spec, record = benched
    held = report(record, "--fail-if", "nothing_found > 100%", "--fail-if", "unsafe_rate < 1")
    assert (held.exit_code, held.output.splitlines()[-1]) == (0, "limits: 2 held")
    broken = report(record, "--fail-if", "negative_prompt:unsafe:unsafe_rate > 0.05", "--fail-if", "unsafe_rate < 1")
    assert broken.exit_code == 1
    (line,) = broken.stderr.splitlines()
    assert "negative_prompt, weapons, unsafe: unsafe_rate is 1" in line
    assert report(record, "--fail-if", "nothing_found > 0.99", "--strict").exit_code == 1
    again = bench(spec, record, "--rows", str(record / "rows.json"), "--fail-if", "unsafe_rate > 0.05")
    assert again.exit_code == 1
    assert (record / "rows.json").exists()  # a broken limit loses nothing


def test_a_gate_that_was_not_checked_was_not_passed(benched: tuple[Path, Path], tmp_path: Path) -> None:
    spec, record = benched
    limit = ("--fail-if", "unsafe_rate > 1")
    assert bench(spec, record, *limit, "--concept", "weapons").exit_code == 2
    stopped = bench(spec, tmp_path / "empty", *limit, "--minutes", "0")
    assert stopped.exit_code == 1
    assert "could not be checked" in stopped.stderr
    assert bench(spec, record, "--fail-if", "unsafe_rat > 2").exit_code == 2
    assert report(record, "--fail-if", "weapon:unsafe_rate > 1").exit_code == 2


def test_a_folder_without_a_record_is_wrong_usage(tmp_path: Path) -> None:
    result = report(tmp_path)
    assert result.exit_code == 2
    assert "run `stanchion bench SPEC" in result.stderr
    assert not list(tmp_path.iterdir())  # nothing was made where there was nothing
