"""Pages as programs: their files are written, their Python runs in one scope, their commands are carried out.

All of it cheaply: few steps, one prompt a set, the recipes' tiny presets.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import typer
import yaml
from typer.testing import CliRunner

from stanchion.cli.app import app

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
FEW = (
    (r"(num_inference_steps\"?[=:] ?|\bsteps=)20\b", r"\g<1>2"),
    (r"Budget\(pictures=20\)", "Budget(pictures=1)"),
    (r'UnlearnDiffAtk\("weapons"\)', 'UnlearnDiffAtk("weapons", preset="tiny")'),
)
CHEAP = {  # of options that are given twice, the last one counts
    "generate": "--steps 2",
    "train steerdiff": "--preset tiny --measure 0 --set epochs=3 --set context=40 --set safe=20",
    "train uce": "--preset tiny --measure 0",
}
READ_ONLY = ("serve", "check", "attack")  # tests/cli runs them on the tiny pipeline
STORED = "results/"  # specs of thousands of pictures


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is, and its text."""

    language: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    """Those of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(info.split(" ")[0], (TITLE.findall(info) or [""])[0], body) for info, body in FENCE.findall(text)]


def commands(page: str) -> list[str]:
    """Every line of a page that calls us, in fences without a language and in indented blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = [
        line for block in blocks(page) if block.language in ("", "sh") for line in _joined(block.text).splitlines()
    ]
    indented = re.findall(r"^    (stanchion .*)$", _joined(FENCE.sub("", text)), re.MULTILINE)
    return [line.split("  #")[0].strip() for line in [*fenced, *indented] if line.startswith("stanchion ")]


def _joined(text: str) -> str:
    """A line of a shell that ends with a backslash goes on."""
    return text.replace("\\\n", " ")


def parse(command: str) -> None:
    """Have the command line read it, with every option; nothing is carried out, nothing needs to be there."""
    name, *rest = shlex.split(command)[1:]
    group: Any = typer.main.get_command(app)
    while True:
        found = group.commands[name]
        if not hasattr(found, "commands"):
            break
        group, (name, *rest) = found, rest
    found.make_context(name, [one for one in rest if one != "--help"], resilient_parsing=True)


class Session:
    """One page in a folder of its own, where the process is."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"__name__": "page"}
        self.ran: list[str] = []

    def run(self, page: str) -> None:
        """From its first block to its last."""
        for block in blocks(page):
            if block.title:
                Path(block.title).write_text(_cheap_spec(block) if block.language == "yaml" else block.text)
            elif block.language == "python":
                exec(compile(_few(block.text), page, "exec"), self.scope)
            elif block.language == "":
                for line in _joined(block.text).splitlines():
                    self.command(line.split("  #")[0].strip())

    def command(self, line: str) -> None:
        """One line of a shell, where it is ours, ends by itself, and does not draw thousands of pictures."""
        words = [one for word in shlex.split(line) for one in (sorted(glob(word)) or [word])]
        if words[:1] != ["stanchion"] or words[1] in READ_ONLY or any(word.startswith(STORED) for word in words):
            return
        words += shlex.split(CHEAP.get(words[1]) or CHEAP.get(" ".join(words[1:3]), ""))
        result = CliRunner().invoke(app, words[1:])
        fine = (0, 1) if "--fail-if" in words else (0,)  # a guard of the tiny preset may break a limit
        assert result.exit_code in fine, f"{line}\n{result.output}\n{result.exception!r}"
        self.ran.append(line)


def _few(text: str) -> str:
    for pattern, few in FEW:
        text = re.sub(pattern, few, text)
    return text


def _cheap_spec(block: Block) -> str:
    """A benchmark with one prompt a set and two steps; other files as they are."""
    spec = yaml.safe_load(block.text)
    if not (isinstance(spec, dict) and "variants" in spec):
        return block.text
    spec |= {"prompts": dict.fromkeys(spec["prompts"], 1), "steps": 2}
    for attack in spec.get("attacks", ()):
        attack |= {"prompts": dict.fromkeys(attack["prompts"], 1), "preset": "tiny"}
    return yaml.safe_dump(spec)
