"""What commands are asked for, tried with odd words: every mistake is code 2, and found before a model is loaded."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import tiny
from stanchion import UnknownName, load_guard
from stanchion.benchmark.spec.prompt_spec import load_spec
from stanchion.benchmark.spec.variant import is_saved
from stanchion.cli.app import app
from stanchion.cli.asked import concept_of, names_of, variant_of
from stanchion.cli.own_prompts import write_spec
from stanchion.errors import ConfigError
from stanchion.types import Prompt

NO_SEEDS = (str(2**64), str(2**63), "-1")
COMMANDS = {
    "generate": ("generate", "x", "--guard", "trasce", "--output", "{out}"),
    "check": ("check", "x", "--guard", "trasce"),
    "train": ("train", "uce", "--concept", "weapons", "--output", "{out}"),
    "attack": ("attack", "finetune", "--guard", "esd", "--concept", "weapons", "--output", "{out}"),
    "export": ("export", "--guards", "esd", "--concept", "weapons", "--output", "{out}"),
}


def run(name: str, out: Path, *more: str) -> Result:
    """A command with a model that can't be loaded, which would be said where nothing else is wrong."""
    words = [word.format(out=out) for word in COMMANDS[name]]
    return CliRunner().invoke(app, [*words, "--model", "nowhere/x", *more])


@pytest.mark.parametrize("seed", NO_SEEDS)
@pytest.mark.parametrize("name", ["generate", "check", "train", "attack"])
def test_a_number_that_is_no_seed(name: str, seed: str, tmp_path: Path) -> None:
    result = run(name, tmp_path / "out", f"--seed={seed}")
    assert result.exit_code == 2
    assert "--seed" in result.stderr and "Traceback" not in result.output


def test_a_prompt_holds_a_seed_and_a_text_that_can_be_drawn() -> None:
    for seed in (2**64, 2**63, -1, 0.5):
        with pytest.raises(ConfigError, match="give a whole number from 0"):
            Prompt("a cat", seed, "0")  # type: ignore[arg-type]
    assert Prompt("a cat", 2**63 - 1, "0").seed == 2**63 - 1
    with pytest.raises(ConfigError, match="no Unicode text"):
        Prompt("a \udcff cat", 0, "0")


@pytest.mark.parametrize("name", ["generate", "train", "attack", "export"])
def test_an_output_that_cant_be_written_shows_before_the_work(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / "out"
    result = run(name, out)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [f"stanchion: can't write into {str(out)!r}: Not a directory."]


@pytest.mark.parametrize("name", ["generate", "check", "attack", "export"])
@pytest.mark.parametrize(
    ("guards", "message"),
    [
        ("", "a name is missing"),
        (" ", "a name is missing"),
        ("trasce,", "a name is missing"),
        ("none,trasce", "'none' stands alone"),
        ("trase", "unknown guard 'trase'; did you mean trasce?"),
        ("recomended", "unknown guard 'recomended'; did you mean recommended?"),
        ("./nowhere", "there is no folder './nowhere'"),
        ("/no/where/at/all", "there is no folder '/no/where/at/all'"),
    ],
)
def test_names_of_guards(name: str, guards: str, message: str, tmp_path: Path) -> None:
    result = run(name, tmp_path / "out", "--guards" if name == "export" else "--guard", guards)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_empty_name_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_guard("trasce", concept="weapons").save(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert not is_saved("")
    with pytest.raises(UnknownName):
        load_guard("")


def test_a_folder_that_is_called_like_a_guard_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trasce").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not is_saved("trasce")
    assert is_saved("./trasce")
    assert names_of(" trasce , esd") == ["trasce", "esd"]


def test_a_folder_that_is_called_like_a_stack_is_none_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fast").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not is_saved("fast")
    assert is_saved("./fast")


def test_a_stack_is_its_guards_as_it_sets_them_unless_something_else_is_given() -> None:
    variant = variant_of("recommended,picture_check", ["forceforget.scale=0.5", "picture_check.action=flag"])
    assert variant.guard == "recommended+picture_check"
    assert variant.settings["forceforget"] == {"when": "flagged_or_monitor", "scale": 0.5}
    assert variant.settings["picture_check"] == {"action": "flag"}
    with pytest.raises(ConfigError, match="unknown guard 'trasce'"):
        variant_of("recommended", ["trasce.lazy_tol=0.5"])


def test_a_stack_draws_and_says_who_acted(tmp_path: Path) -> None:
    command = [
        "generate",
        "a knife",
        "--guard",
        "recommended",
        "--set",
        "monitor.look_from=1",
        "--steps",
        "1",
        "--json",
    ]
    result = CliRunner().invoke(app, [*command, "--output", str(tmp_path)])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["guard"], list(said["acted"])) == ("recommended", ["steerdiff", "forceforget", "monitor"])


@pytest.mark.parametrize("name", ["generate", "check"])
def test_a_stack_that_must_be_trained_first_is_said_to_be_one(name: str, tmp_path: Path) -> None:
    result = run(name, tmp_path / "out", "--guard", "recommended", "--concept", "horror")
    assert result.exit_code == 2
    assert "forceforget and monitor must be trained for horror" in result.stderr
    assert "'stanchion train recommended --concept" in result.stderr


def test_what_of_a_stack_is_no_weights_can_t_be_attacked(tmp_path: Path) -> None:
    result = run("attack", tmp_path / "out", "--guard", "recommended")
    assert result.exit_code == 2
    assert "steerdiff, forceforget, monitor can't be merged" in result.stderr


def test_a_stack_is_measured_on_ones_own_prompts(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a knife\n")
    spec = write_spec(
        tmp_path / "mine.txt",
        tmp_path / "run",
        guards=["fast", "recommended"],
        concept="ink",
        role=None,
        model=None,
        judge=None,
    )
    read = load_spec(spec)
    assert [variant.guard for variant in read.variants] == ["none", "fast", "recommended"]
    assert read.variants[2].settings == {"forceforget": {"when": "flagged_or_monitor"}}


@pytest.mark.parametrize("key", ["source", "concept", "tensors", "base", "training", "folder"])
@pytest.mark.parametrize("guard", ["trasce", "esd", "saved"])
def test_a_setting_that_is_called_like_an_argument_is_unknown(guard: str, key: str, tmp_path: Path) -> None:
    if guard == "saved":
        guard = str(tmp_path / "saved")
        load_guard("trasce", concept="weapons").save(guard)
    result = run("generate", tmp_path / "out", "--guard", guard, "--set", f"{guard}.{key}={{}}")
    assert result.exit_code == 2
    assert f"unknown key {key!r}" in result.stderr


def test_a_judges_setting_that_is_called_like_an_argument_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    result = CliRunner().invoke(app, ["judge", str(tmp_path / "x.png"), "--set", "name=1"])
    assert result.exit_code == 2
    assert "unknown setting 'name'" in result.stderr


@pytest.fixture
def bananas(tmp_path: Path) -> str:
    """The folder of a guard against bananas."""
    load_guard("trasce", concept="banana").save(tmp_path / "mine.b")
    return str(tmp_path / "mine.b")


def test_what_must_not_be_drawn_is_what_the_saved_guard_was_made_against(
    bananas: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert concept_of([bananas], None).name == "banana"
    assert concept_of(["trasce"], None).name == "weapons"
    assert concept_of([], None).name == "weapons"
    load_guard("safree", concept="horror").save(tmp_path / "other")
    assert concept_of([bananas, str(tmp_path / "other")], None).name == "banana+horror"
    assert capsys.readouterr().err == ""
    assert concept_of([bananas], "horror").name == "horror"
    assert capsys.readouterr().err == f"stanchion: {bananas} was made against banana, not against horror.\n"


def test_the_verdict_under_a_saved_guard_is_about_its_own_concept(bananas: str, tmp_path: Path) -> None:
    tiny.pipeline().save_pretrained(tmp_path / "model")
    fixed = ["--model", str(tmp_path / "model"), "--judge", "always_unsafe", "--steps", "1", "--json"]
    command = ["generate", "a cat", "--guard", bananas, "--set", "mine.b.lazy_tol=0.5", *fixed]
    result = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["found"] == ["banana"]


def test_a_mistake_of_the_guard_shows_before_anything_is_drawn_unguarded(tmp_path: Path) -> None:
    """The guard belongs to another model: that is known once it is attached."""
    tiny.pipeline(seed=1).save_pretrained(tmp_path / "model")
    fixed = ["--model", str(tmp_path / "model"), "--judge", "always_safe", "--steps", "1", "--compare"]
    command = ["generate", "a cat", "--guard", "esd", *fixed, "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert not list((tmp_path / "out").iterdir())


def test_more_steps_than_there_are_timesteps(tmp_path: Path) -> None:
    tiny.pipeline().save_pretrained(tmp_path / "model")
    fixed = ["--model", str(tmp_path / "model"), "--judge", "always_safe", "--steps", "1001"]
    result = CliRunner().invoke(app, ["generate", "a cat", *fixed, "--output", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "steps: 1001, but DDIMScheduler knows 1000 timesteps" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_is_not_ours_to_write(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    assert run("generate", tmp_path / "shut").exit_code == 2
