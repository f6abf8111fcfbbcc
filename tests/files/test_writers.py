"""One writer at a time: a second process that would do the same work is refused, and told whose number it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import tiny
from stanchion.benchmark.store.attempts import Store
from stanchion.cli.app import app
from stanchion.errors import ConfigError
from stanchion.files.shards import Shard
from stanchion.files.writers import PREFIX, WHOLE, Part, writers, writing
from stanchion.training.recipe import train_guard

ELSEWHERE = """
import sys; from pathlib import Path
from stanchion.files.shards import Shard; from stanchion.files.writers import Part, writing
with writing(Path(sys.argv[1]), Part(sys.argv[2], Shard.parse(sys.argv[3]))):
    print("there", flush=True)
    sys.stdin.read()
"""


class Elsewhere:
    """Another process that writes a part, until it is killed."""

    def __init__(self, folder: Path, part: Part = WHOLE) -> None:
        words = [str(folder), part.concept, str(part.shard)]
        command = [sys.executable, "-c", ELSEWHERE, *words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stdout.readline() == "there\n"

    def __enter__(self) -> int:
        return self.process.pid

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()  # no chance to tidy up


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        (WHOLE, WHOLE, False),
        (WHOLE, Part("ink"), False),
        (WHOLE, Part(shard=Shard(1, 2)), False),
        (Part("ink"), Part("ink"), False),
        (Part("ink"), Part("weapons"), True),
        (Part(shard=Shard(1, 2)), Part(shard=Shard(2, 2)), True),
        (Part(shard=Shard(1, 2)), Part(shard=Shard(1, 2)), False),
        (Part(shard=Shard(1, 2)), Part(shard=Shard(2, 3)), False),
        (Part(shard=Shard(1, 2)), Part(shard=Shard(4, 6)), True),
        (Part(shard=Shard(1, 2)), Part(shard=Shard(5, 6)), False),
        (Part("ink", Shard(1, 2)), Part("ink", Shard(2, 2)), True),
        (Part("ink", Shard(1, 2)), Part(shard=Shard(2, 2)), False),
        (Part("ink", Shard(1, 2)), Part("weapons", Shard(1, 2)), True),
    ],
)
def test_which_parts_are_apart(one: Part, other: Part, apart: bool, tmp_path: Path) -> None:
    assert one.apart(other) is apart is other.apart(one)
    with writing(tmp_path, one):
        assert [writer.part for writer in writers(tmp_path)] == [one]
        if apart:
            with writing(tmp_path, other):
                assert len(writers(tmp_path)) == 2
        else:
            with pytest.raises(ConfigError, match=f"being written by process {os.getpid()}"), writing(tmp_path, other):
                pass
    assert writers(tmp_path) == [] and not list(tmp_path.iterdir())


def test_a_process_that_was_killed_is_no_writer(tmp_path: Path) -> None:
    with Elsewhere(tmp_path) as pid:
        with pytest.raises(ConfigError, match=f"process {pid} .all of it.; wait until it is done"), writing(tmp_path):
            pass
        assert [writer.pid for writer in writers(tmp_path)] == [pid]
    assert list(tmp_path.glob(f"{PREFIX}*"))  # it was killed
    with writing(tmp_path):
        assert [writer.pid for writer in writers(tmp_path)] == [os.getpid()]
    assert not list(tmp_path.iterdir())


def bench(folder: Path, *more: str) -> Result:
    spec = folder / "spec.yaml"
    spec.write_text(
        f"model: {folder / 'model'}\njudge: always_safe\nseed: 1\nsteps: 1\nguidance_scale: 3\nconcepts: [weapons]\n"
        "variants: [{guard: none}]\nprompts: {unsafe: 1, benign: 1}\nmetrics: [unsafe_rate]\n"
    )
    return CliRunner().invoke(app, ["bench", str(spec), "--grid", "0", "--output", str(folder / "run"), *more])


def test_two_processes_never_draw_one_record_twice(tmp_path: Path) -> None:
    with Elsewhere(tmp_path / "run", Part(shard=Shard(1, 2))) as pid:
        refused = bench(tmp_path)  # needs no model: it shows before one is loaded
        assert refused.exit_code == 2
        (line,) = refused.stderr.splitlines()
        assert f"is being written by process {pid} (shard 1/2)" in line
        assert not (tmp_path / "run" / "images").exists()
        assert bench(tmp_path, "--shard", "1/2").exit_code == 2
        tiny.pipeline().save_pretrained(tmp_path / "model")
        assert bench(tmp_path, "--shard", "2/2").exit_code == 0
    assert bench(tmp_path).exit_code == 0
    assert sum(path.read_text().count("\n") for path in (tmp_path / "run").glob("attempts*")) == 2


def test_a_line_that_is_on_its_way_is_not_mended_by_a_reader(tmp_path: Path) -> None:
    (tmp_path / "attempts.jsonl").write_text('{"on its way')
    with Elsewhere(tmp_path):
        Store.read(tmp_path)
        assert (tmp_path / "attempts.jsonl").read_text() == '{"on its way'
    Store(tmp_path)
    assert (tmp_path / "attempts.jsonl").read_text() == ""


def test_trainings_and_attacks_on_weights_are_not_done_twice_either(tmp_path: Path) -> None:
    with Elsewhere(tmp_path) as pid:
        with pytest.raises(ConfigError, match=f"process {pid}"):
            train_guard("uce", tiny.pipeline(), "weapons", tmp_path, preset="tiny")
        command = ["attack", "finetune", "--guard", "esd", "--concept", "weapons", "--output", str(tmp_path)]
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert f"process {pid}" in result.stderr


@pytest.mark.parametrize("shard", ["", "2/1", "0/1", "1", "²/2", "-1/2", "a/b"])
def test_what_is_no_shard(shard: str) -> None:
    with pytest.raises(ConfigError, match="give I/N"):
        Shard.parse(shard)


@pytest.mark.parametrize(
    "words",
    [("claims", "--concept", "weapons"), ("claims", "--fail-if", "unsafe_rate > 1"), ("x.yaml", "--page", "p.md")],
)
def test_options_that_would_be_passed_over_are_refused(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["bench", *words])
    assert result.exit_code == 2
    assert f"takes no {words[1]}" in result.stderr
