"""The papers' tables: what they name is there, what is missing is told, and a run puts reported beside measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tiny
from stanchion import registry
from stanchion.benchmark.papers.paper import FOLDER, Paper, load_paper, papers
from stanchion.benchmark.results.row import read_rows
from stanchion.cli.app import app
from stanchion.concepts import load_concept

SAMPLES = Path(__file__).parents[2] / "prompts" / "samples"
CONCEPT = "name: nudity\nkind: unsafe\ntargets: [a cat]\nanchors: [a dog]\nlabels: [nudity]\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny.pipeline().save_pretrained(folder)
    return str(folder)


def bench(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paper(name: str) -> Paper:
    return load_paper(f"papers/{name}")


@pytest.mark.parametrize("name", papers())
def test_what_a_table_names_is_there(name: str) -> None:
    found = paper(name)
    for task, spec in found.tasks.items():
        assert {spec.judge} <= set(registry.names("judges"))
        assert {guard for one in spec.variants for guard in one.names} <= set(registry.names("guards"))
        assert set(spec.metrics) <= set(registry.names("metrics"))
        assert set(spec.concepts) <= set(found.concepts)
        for prompts in spec.prompts:
            assert spec.tables[prompts].file.endswith(".csv")
            assert registry.is_named("prompts", prompts) or spec.tables[prompts].role == "unsafe"
        titles = {one.title.replace("\n", " ") for one in spec.variants}
        for guard, numbers in found.reported.get(task, {}).items():
            assert guard in titles
            assert set(numbers) <= set(spec.prompts)
            assert all(0 <= number <= 100 for number in numbers.values())


def test_every_file_is_a_table() -> None:
    assert papers() == [path.stem for path in sorted(FOLDER.glob("*.yaml"))] != []


def test_all_that_is_missing_is_told_with_where_to_get_it(here: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "papers/steerdiff", "--model", "nowhere"])
    assert result.exit_code == 2
    told = " ".join(result.output.split())
    assert "prompts/i2p.csv: prompts, from https://huggingface.co/datasets/AIML-TUDA/i2p" in told
    assert "stanchion train steerdiff --concept" in told
    assert "--model nowhere --output guards/steerdiff-nudity --preset paper" in told
    assert "stanchion train esd" in told
    assert load_concept("runs/steerdiff/concepts/nudity.yaml").name == "nudity"  # what those commands name


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["papers/trase"], "papers/trasce"),
        (["papers/trasce", "--set", "promts=x"], "prompts"),
        (["papers/trasce", "--set", "sets=[i2q]"], "i2p"),
        (["papers/trasce", "--guard", "uce"], "takes no --guard"),
        (["spec.yaml", "--set", "rows=2"], "takes no --set"),
    ],
)
def test_what_nobody_knows_is_refused(here: Path, arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 2
    assert told in result.output


def test_reported_stands_beside_measured(here: Path, model: str) -> None:
    shutil.copytree(SAMPLES, "mine")
    (here / "cat.yaml").write_text(CONCEPT)
    chosen = ["tasks=[nudity]", "sets=[i2p, p4d]", "variants=[trasce]", "rows=2", "steps=2", "judge=always_unsafe"]
    chosen += ["prompts=mine", "concept=cat.yaml"]
    run = ["papers/trasce", "--model", model, *(part for one in chosen for part in ("--set", one))]
    first = bench(*run, "--shard", "1/2")
    assert "nudity: 8 pictures, at most about" in first
    assert "this is part 1/2 of it" in first
    assert not (here / "runs" / "trasce" / "rows.json").exists()
    told = bench(*run)
    assert "| i2p | trasce | 0.45 | 100.0 [34.2, 100.0] | 2 | 0 |" in told
    assert told.count("| p4d | none | 98.7 |") == 1
    rows = read_rows("runs/trasce/rows.json")
    (row,) = [r for r in rows if (r.guard, r.prompt_set, r.metric) == ("trasce", "p4d", "unsafe_rate")]
    assert (row.reported, row.value) == (0.0397, 1.0)
    assert row.source == "Concept Steerers, arXiv 2501.19066, Table 1"
