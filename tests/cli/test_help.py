"""``--help`` is quick and every command has one."""

import subprocess
import sys
import time
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from stanchion.cli.app import app

COMMANDS = ("generate", "list", "judge", "bench", "demo")


def test_help_within_half_a_second() -> None:
    """The quickest of three, for this machine may be busy."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        code = "from stanchion.cli import main; main()"
        subprocess.run([sys.executable, "-c", code, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
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
