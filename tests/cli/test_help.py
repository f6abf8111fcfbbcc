"""``--help`` is quick and every command has one."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from stanchion.cli.app import app

COMMANDS = ("generate", "list", "judge", "bench", "report", "compare", "attack", "check", "export", "demo")


def test_help_within_half_a_second() -> None:
    """Of processor time, the least of three: this machine may be busy with something else."""
    code, times = "from stanchion.cli import main; main()", []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-c", code, "--help"], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        times.append(after.children_user - before.children_user + after.children_system - before.children_system)
    assert min(times) < 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.strip() == version("stanchion")


def test_without_a_command_there_is_help_and_code_2() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert all(command in result.output for command in COMMANDS)
