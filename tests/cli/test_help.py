"""``--help`` is quick and every command has one."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from stanchion.cli.app import app

COMMANDS = ("generate", "list", "judge", "bench", "study", "report", "compare", "attack", "check", "export", "demo")


HEAVY = {"torch", "diffusers", "transformers", "accelerate", "safetensors", "huggingface_hub", "numpy", "PIL", "jinja2"}


ASK = """
import contextlib, sys
from stanchion.cli import main
for arguments in (["--version"], ["--help"], *([command, "--help"] for command in sys.argv[1:])):
    sys.argv[1:] = arguments
    with contextlib.suppress(SystemExit):
        main()
print(*{name.split(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def test_help_imports_nothing_heavy() -> None:
    """What makes it quick on any machine: none of the libraries that take seconds to load."""
    said = subprocess.run([sys.executable, "-c", ASK, *COMMANDS], check=True, capture_output=True, text=True)
    assert said.stdout.count("Usage") == 1 + len(COMMANDS)
    loaded = set(said.stderr.split())
    assert "stanchion" in loaded and not HEAVY & loaded


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
