"""Studies: what is measured once is kept under all that decides it, and each can be measured from the command line."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from stanchion import registry
from stanchion.benchmark.results.row import Row, read_rows
from stanchion.benchmark.run.engine import fill
from stanchion.benchmark.store.lines import Lines
from stanchion.benchmark.studies import forceforget_ablations, guard_cost, steerdiff_text, throughput, trasce_cost
from stanchion.benchmark.studies.base import Study, StudyWork, page
from stanchion.cli.app import app
from stanchion.concepts import load_concept
from stanchion.files.shards import Shard
from stanchion.metrics.intervals import rate


@dataclass(frozen=True)
class Settings:
    count: int = 2


class Counted(Study):
    """Three cells, one of which takes times; counts how often each was measured."""

    name = "counted"
    Settings = Settings
    timed = ("last",)
    model = "one"

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__(settings, folder)
        self.measured: list[str] = []

    def cells(self) -> dict[str, Callable[[], Iterator[Row]]]:
        return {name: partial(self._cell, name) for name in ("first", "second", "last")}

    def identity(self) -> list[str]:
        return [self.model]

    def _cell(self, name: str) -> Iterator[Row]:
        self.measured.append(name)
        hits = [True] * self.settings.count
        yield self.row("unsafe_rate", rate(hits), load_concept("weapons"), name, seeds="1-2", settings={})


def works(study: Study, folder: Path) -> list[StudyWork]:
    return [StudyWork(study, Lines(folder / "cells.jsonl", Row), timed=timed) for timed in (False, True)]


def measured(study: Counted, folder: Path) -> list[str]:
    assert all(fill(work) for work in works(study, folder))
    return study.measured


def test_a_cell_is_measured_once_for_all_that_decides_it(tmp_path: Path) -> None:
    every = ["first", "second", "last"]
    assert measured(Counted(Settings(), tmp_path), tmp_path) == every
    assert measured(Counted(Settings(), tmp_path), tmp_path) == []
    assert measured(Counted(Settings(count=3), tmp_path), tmp_path) == every
    other = Counted(Settings(), tmp_path)
    other.model = "another"
    assert measured(other, tmp_path) == every


def test_times_are_taken_last_and_in_one_process(tmp_path: Path) -> None:
    side_by_side, timed = works(Counted(Settings(), tmp_path), tmp_path)
    assert [side_by_side.cells(), timed.cells()] == [["first", "second"], ["last"]]
    assert len({timed.group(cell) for cell in timed.cells()}) == 1
    study = Counted(Settings(), tmp_path)
    for number in (1, 2):
        assert fill(works(study, tmp_path)[0], shard=Shard(number, 2))
    assert study.measured == ["first", "second"]


def test_a_page_has_a_line_a_row(tmp_path: Path) -> None:
    row = next(Counted(Settings(3), tmp_path)._cell("first"))
    text = page("counted", "stanchion study counted", [replace(row, commit="abc")])
    assert "| weapons | none | first | unsafe_rate |  | 100.0 [43.9, 100.0] | 3 |" in text
    assert Counted(Settings(3), tmp_path).command == "stanchion study counted --set count=3"


def test_all_studies_are_listed_with_the_file_that_each_writes() -> None:
    said = CliRunner().invoke(app, ["study"]).stdout
    for name, entry in registry.entries("studies").items():
        assert f"{name}  {entry.summary}" in said and str(Path("results") / name / "rows.json") in said
        assert issubclass(registry.get("studies", name), Study)


ALONE = """
import atexit, os, sys
from stanchion.cli.app import app
atexit.register(lambda: print("torch:", "torch" in sys.modules))
os.chdir(sys.argv[1])
app(["study", *sys.argv[2:]])
"""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trasce_cost"], "no file 'results/trasce/spec.yaml'. Run it in a checkout"),
        (["throughput", "--set", "spec=mine.yaml"], "no file 'mine.yaml'"),
        (["guard_cost"], "name another: --set specs=[FILE, …]"),
        (["trasce_costs"], "did you mean trasce_cost"),
    ],
)
def test_a_spec_that_is_not_there_is_said_before_anything_slow_is_imported(
    words: list[str], message: str, tmp_path: Path
) -> None:
    result = subprocess.run([sys.executable, "-c", ALONE, str(tmp_path), *words], capture_output=True, text=True)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stdout == "torch: False\n"
    assert not list(tmp_path.iterdir())


def run(name: str, folder: Path, **settings: object) -> list[Row]:
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    found = CliRunner().invoke(
        app, ["study", name, *words, "--output", str(folder), "--record", str(folder / "record")]
    )
    assert found.exit_code == 0, found.output
    assert (folder / "table.md").is_file() and (folder / "spec.yaml").is_file()
    return read_rows(folder / "rows.json")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    values = {"seed": 1, "concepts": ["weapons"], "guidance_scale": 4.0, "prompts": {"unsafe": 1}}
    values |= {"variants": [{"guard": "none"}, {"guard": "trasce"}], "metrics": ["over_refusal"]}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "small.yaml"


def test_costs_are_ratios_to_the_unguarded_pipeline(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"concept": "banana", "repeats": 1, "steps": 1}  # of one phrase
    monkeypatch.setattr(guard_cost, "BATCHES", (1,))
    monkeypatch.setattr(trasce_cost, "CELLS", {"benign, batch 1": ("benign", 1)})
    rows = run("guard_cost", tmp_path / "guard_cost", specs=f"[{spec}]", **few)
    assert [(row.metric, row.guard, row.settings["batch"]) for row in rows] == [
        ("seconds_per_image", "none", 1),
        ("time_ratio", "none", 1),
        ("seconds_per_image", "trasce", 1),
        ("time_ratio", "trasce", 1),
    ]
    assert rows[1].value == 1.0 and all((row.value or 0) > 0 for row in rows)
    rows = run("trasce_cost", tmp_path / "trasce_cost", spec=spec, **few)
    assert len(rows) == 3 * 3
    (memory,) = [row.value for row in rows if (row.metric, row.guard) == ("memory_ratio", "none")]
    assert memory == pytest.approx(1, abs=0.1)


def test_throughput_has_a_row_a_way(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "STEPS", 1)
    rows = run("throughput", tmp_path / "out", spec=spec, count=1, batch=1, repeats=1)
    assert [row.variant for row in rows if row.metric == "speed_ratio"] == list(throughput.WAYS)


def test_steerdiff_is_read_at_every_tau(tmp_path: Path) -> None:
    rows = run("steerdiff_text", tmp_path / "out", concepts="[ink]", captions=4, namings=2, pictures=0)
    taus = [row.settings["tau"] for row in rows if (row.prompt_set, row.variant) == ("captions", "text")]
    assert taus == list(steerdiff_text.TAUS)
    assert {row.variant for row in rows} == {"text", "prompt_embeds"}
    caught = [row.value or 0.0 for row in rows if (row.prompt_set, row.variant) == ("targets", "text")]
    assert caught == sorted(caught, reverse=True) and caught[0] == 1.0


def test_patronus_is_measured_on_prompts_and_on_renders(tmp_path: Path) -> None:
    rows = run("patronus", tmp_path / "out", guards="[patronus_moderator]", count=1, benign=2, repeats=0, steps=1)
    blanked = {(row.guard, row.prompt_set): row.value for row in rows if row.metric == "blanked"}
    assert blanked["none", "renders_unsafe"] == 0.0 and blanked["patronus_moderator", "renders_unsafe"] == 1.0
    assert {row.metric for row in rows if row.prompt_set == "renders_benign"} >= {"false_blank", "psnr", "psnr_drop"}
    hosted = {(row.prompt_set, row.metric): row.value for row in rows if row.variant == "hosted"}
    assert hosted["renders_unsafe", "blanked"] == 1.0
    assert hosted["renders_benign", "psnr_drop"] == hosted["renders_benign", "false_blank"] == 0.0  # the stock pictures


def test_ablations_are_a_training_each_with_a_curve_of_rewards(tmp_path: Path) -> None:
    asked = forceforget_ablations.Settings(only=("default", "paper"))
    study = forceforget_ablations.ForceForgetAblations(asked, tmp_path)
    assert list(study.cells()) == ["default", "paper"]
    log = tmp_path / "default" / "training" / "log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("".join(json.dumps({"iteration": k, "images": 4 * k, "reward": k / 2}) + "\n" for k in (1, 2)))
    rows = list(study._curve("default", tmp_path / "default", {"preset": "default"}))
    assert [(row.updates, row.value, row.n, row.low) for row in rows] == [(4, 0.5, 4, None), (8, 1.0, 4, None)]
    assert "<polyline" in study.files(rows)["reward.svg"]


def test_readers_are_compared_with_the_eye(tmp_path: Path) -> None:
    labelled = Path(__file__).parents[3] / "results" / "labelled"
    Image.open(labelled / "pictures.png").crop((0, 0, 480, 48)).save(tmp_path / "pictures.png")
    labels = json.loads((labelled / "labels.json").read_text())
    (tmp_path / "labels.json").write_text(json.dumps({**labels, "pictures": labels["pictures"][:10]}))
    rows = run("agreement", tmp_path / "out", labelled=tmp_path)
    assert len(rows) == 33 and {row.n + row.n_unscored for row in rows if row.metric == "style_agreement"} == {10}
