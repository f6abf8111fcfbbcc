"""``stanchion generate`` and ``bench`` on a real pipeline of tiny size."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import tiny
from closeness import within_a_level
from stanchion import load_guard
from stanchion.cli.app import app


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny.pipeline().save_pretrained(folder)
    return str(folder)


def generate(model: str, output: Path, *arguments: str) -> Result:
    fixed = ["--model", model, "--output", str(output), "--judge", "always_unsafe", "--steps", "2", "--seed", "3"]
    return CliRunner().invoke(app, ["generate", *arguments, *fixed])


def read(path: str | Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def test_compare_draws_each_prompt_twice_and_a_sheet(model: str, tmp_path: Path) -> None:
    result = generate(model, tmp_path, "a knife", "a cat", "--compare", "--guard", "negative_prompt", "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["prompt"], line["seed"], line["guard"]) for line in lines] == [
        ("a knife", 3, "none"),
        ("a knife", 3, "negative_prompt"),
        ("a cat", 4, "none"),
        ("a cat", 4, "negative_prompt"),
    ]
    assert lines[1]["acted"] == {"negative_prompt": 2}
    assert all(line["unsafe"] for line in lines)
    assert all(read(line["image"]).size == (16, 16) for line in lines)
    assert (tmp_path / "contact_sheet" / "contact_sheet.png").exists()
    assert sorted(map(str, tmp_path.glob("*.png"))) == sorted(line["image"] for line in lines)


def test_a_batch_equals_singles(model: str, tmp_path: Path) -> None:
    generate(model, tmp_path / "together", "a knife", "a cat", "--batch", "2")
    generate(model, tmp_path / "alone", "a knife", "a cat", "--batch", "1")
    for name in ("000-trasce.png", "001-trasce.png"):
        one, other = (read(tmp_path / folder / name) for folder in ("together", "alone"))
        assert within_a_level(one, other)


def test_without_compare_there_is_one_picture_and_text(model: str, tmp_path: Path) -> None:
    result = generate(model, tmp_path, "a knife", "--guard", "none")
    assert result.exit_code == 0, result.output
    assert "no guard" in result.stdout
    assert "UNSAFE" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["000-none.png"]


def test_settings_reach_the_guard_and_unknown_ones_are_refused(model: str, tmp_path: Path) -> None:
    assert generate(model, tmp_path, "a knife", "--set", "trasce.lazy_tol=1e-3").exit_code == 0
    result = generate(model, tmp_path, "a knife", "--set", "trasce.lazytol=1")
    assert result.exit_code == 2
    assert "unknown key 'lazytol'; did you mean lazy_tol?" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--guard", "trase"), "unknown guard 'trase'; did you mean trasce?"),
        (("--concept", "weapon"), "no concept and no YAML file"),
        (("--judge", "refrence"), "unknown judge 'refrence'; did you mean reference?"),
        (("--model", "nowhere/at/all"), "nowhere/at/all"),
    ],
)
def test_wrong_names_are_one_line_with_code_2(
    model: str, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    names = {"--model": model, "--judge": "always_safe", **dict([arguments])}
    result = CliRunner().invoke(app, ["generate", "x", "--output", str(tmp_path), *sum(names.items(), ())])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_long_prompt_says_how_many_tokens_are_cut(model: str, tmp_path: Path) -> None:
    result = generate(model, tmp_path, "a cat " * 26, "--guard", "none")
    assert result.exit_code == 0, result.output
    assert "6 tokens at the end of" in result.stderr  # 52 words, start and end; the model reads 48


def test_bench_writes_rows_and_goes_on_where_it_stopped(model: str, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        f"model: {model}\njudge: always_safe\nseed: 1\nsteps: 1\nguidance_scale: 3\nconcepts: [weapons]\n"
        "variants: [{guard: none}, {guard: trasce, settings: {trasce: {localized: false}}}]\n"
        "prompts: {unsafe: 3, benign: 2}\nbatch: 2\n"
    )
    command = ["bench", str(spec), "--output", str(tmp_path / "run")]
    stopped = CliRunner().invoke(app, [*command, "--minutes", "0"])
    assert "run the same command again" in stopped.stderr
    assert not (tmp_path / "rows.json").exists()
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "rows.json").read_text())
    rate = {(row["guard"], row["prompt_set"]): row for row in rows if row["metric"] == "unsafe_rate"}
    assert rate["trasce", "unsafe"]["value"] == 0.0
    assert rate["trasce", "unsafe"]["n"] == 3
    assert rate["trasce", "unsafe"]["settings"]["trasce"] == {"localized": False}
    assert len(list((tmp_path / "run" / "grids").iterdir())) == 2


@pytest.fixture
def saved(tmp_path: Path) -> str:
    """The folder of a saved guard with a setting that is not the default."""
    load_guard("trasce", concept="weapons", localized=False).save(tmp_path / "mine")
    return str(tmp_path / "mine")


def test_a_saved_guards_folder_draws_as_the_guard_does(model: str, tmp_path: Path, saved: str) -> None:
    assert generate(model, tmp_path / "saved", "a knife", "--guard", saved).exit_code == 0
    by_name = ("--guard", "trasce", "--set", "trasce.localized=false")
    assert generate(model, tmp_path / "named", "a knife", *by_name).exit_code == 0
    assert read(tmp_path / "saved" / "000-mine.png") == read(tmp_path / "named" / "000-trasce.png")


def test_bench_measures_a_saved_guards_folder(model: str, tmp_path: Path, saved: str) -> None:
    result = bench(tmp_path, model, "[weapons]", f"{{guard: {saved}}}")
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["guard"] for row in rows} == {"none", saved}


def test_bench_a_concept_at_a_time_writes_rows_once_all_are_there(model: str, tmp_path: Path) -> None:
    for concept in ("weapons", "banana"):
        result = bench(tmp_path, model, "[weapons, banana]", "{guard: trasce}", "--concept", concept)
        assert result.exit_code == 0, result.output
        assert f"filled: {concept}" in result.stdout
        assert not (tmp_path / "rows.json").exists()
    written = (tmp_path / "run" / "attempts-banana.jsonl").stat().st_mtime_ns
    assert bench(tmp_path, model, "[weapons, banana]", "{guard: trasce}").exit_code == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {(row["guard"], row["concept"]) for row in rows} == {
        (guard, concept) for guard in ("none", "trasce") for concept in ("weapons", "banana")
    }
    assert (tmp_path / "run" / "attempts-banana.jsonl").stat().st_mtime_ns == written
    assert not (tmp_path / "run" / "attempts.jsonl").exists()


def test_bench_refuses_a_concept_that_the_spec_has_not(model: str, tmp_path: Path) -> None:
    result = bench(tmp_path, model, "[weapons]", "{guard: trasce}", "--concept", "weapon")
    assert result.exit_code == 2
    assert "unknown concept of spec.yaml 'weapon'; did you mean weapons?" in result.stderr


def bench(folder: Path, model: str, concepts: str, variant: str, *arguments: str) -> Result:
    spec = folder / "spec.yaml"
    spec.write_text(
        f"model: {model}\njudge: always_safe\nseed: 1\nsteps: 1\nguidance_scale: 3\nconcepts: {concepts}\n"
        f"variants: [{{guard: none}}, {variant}]\nprompts: {{unsafe: 2}}\nmetrics: [unsafe_rate]\n"
    )
    return CliRunner().invoke(app, ["bench", str(spec), "--output", str(folder / "run"), *arguments])
