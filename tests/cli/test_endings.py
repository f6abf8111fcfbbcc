"""How commands end: documented exit codes, one line for what goes wrong, silence where nobody reads."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers.utils import logging
from typer.testing import CliRunner

import tiny
from stanchion.benchmark.store.attempts import Store
from stanchion.cli.app import app
from stanchion.cli.endings import CODES, FAILED, INTERRUPTED, MISUSED, UNREAD
from stanchion.guards.trajectory.trasce import TraSCE
from stanchion.types import Guided, Step

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny.pipeline().save_pretrained(folder)
    return str(folder)


def test_the_codes_are_those_of_the_help() -> None:
    told = [int(code) for code in re.findall(r"\b(\d+) [a-z]", CODES)]
    assert told == [0, FAILED, MISUSED, INTERRUPTED, UNREAD]
    assert "Exit codes: 0 done; 1 a guard" in " ".join(CliRunner().invoke(app, ["--help"]).output.split())


def nothing(self: TraSCE, step: Step, state: object) -> Guided:
    """A step's answer that is no number."""
    everywhere = torch.ones(len(step.latents), dtype=torch.bool)
    return Guided(torch.full_like(step.latents, float("nan")), step.latents, everywhere, {})


@pytest.mark.parametrize("more", [(), ("--json",), ("--compare",)])
def test_no_picture_is_code_1(
    model: str, tmp_path: Path, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guard that gives NaN fails closed; a picture that an earlier command left is none of this one."""
    (tmp_path / "000-trasce.png").write_bytes(b"of another command")
    monkeypatch.setattr(TraSCE, "on_step", nothing)
    fixed = ["--model", model, "--judge", "always_safe", "--steps", "2", "--output", str(tmp_path)]
    result = CliRunner().invoke(app, ["generate", "a knife", *fixed, *more])
    assert result.exit_code == FAILED, result.output
    assert result.stderr.splitlines()[-1].startswith(f"stanchion: 1 of {2 if more == ('--compare',) else 1} pictures")
    assert not (tmp_path / "000-trasce.png").exists()
    if more == ("--json",):
        assert json.loads(result.stdout)["image"] is None


def test_what_the_system_refuses_is_one_line(model: str, tmp_path: Path) -> None:
    (tmp_path / "000-none.png").mkdir()  # where the picture should go
    fixed = ["--model", model, "--judge", "always_safe", "--steps", "1", "--output", str(tmp_path)]
    result = CliRunner().invoke(app, ["generate", "a cat", "--guard", "none", *fixed])
    assert result.exit_code == FAILED
    (line,) = result.stderr.splitlines()
    assert line.startswith("stanchion: ") and "000-none.png" in line


def test_ctrl_c_says_so_and_the_same_command_goes_on(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        f"model: {model}\njudge: always_safe\nseed: 1\nsteps: 1\nguidance_scale: 3\nconcepts: [weapons]\n"
        "variants: [{guard: none}, {guard: trasce}]\nprompts: {unsafe: 4}\nmetrics: [unsafe_rate]\nbatch: 2\n"
    )
    logging.enable_progress_bar()  # of the files of a model: a program has them off
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts jobs in the background without
    command = ["bench", str(spec), "--grid", "0", "--output", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        append = Store.append

        def interrupted(self, entries):
            append(self, entries)
            os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(Store, "append", interrupted)
        result = CliRunner().invoke(app, command)
    assert result.exit_code == INTERRUPTED
    assert result.stderr.splitlines() == ["stanchion: interrupted; the same command goes on where it stopped."]
    kept = (tmp_path / "run" / "attempts.jsonl").read_bytes()
    assert kept.count(b"\n") == 2
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (tmp_path / "run" / "attempts.jsonl").read_bytes().startswith(kept)


def ends(*arguments: str, reader: list[str] | None = None) -> tuple[int, str]:
    """Exit code and standard error of ``python -m stanchion``, its output read by ``reader`` where there is one."""
    command = [sys.executable, "-m", "stanchion", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout and run.stderr
        if reader is None:
            run.stdout.close()  # before a word is written
        else:
            subprocess.run(reader, stdin=run.stdout, stdout=subprocess.DEVNULL, check=True)
        return run.wait(), run.stderr.read()


def test_a_reader_that_went_away_hears_nothing() -> None:
    assert ends("list") == (UNREAD, "")
    assert ends("list", "--json") == (UNREAD, "")
    assert ends("list", reader=["cat"]) == (0, "")


def test_the_libraries_are_quiet_however_the_program_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers has two lines of advice on import, which are about no program that draws."""
    monkeypatch.setattr(sys, "argv", ["stanchion", "--version"])
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    with pytest.raises(SystemExit):
        runpy.run_module("stanchion", run_name="__main__")
    assert os.environ.pop("TRANSFORMERS_VERBOSITY") == "error"


def test_the_documentation_names_every_code() -> None:
    text = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    assert "0 done; 1 " in text and "2 wrong usage" in text
