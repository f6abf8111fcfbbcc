"""What others build on: the public names, the version, and the README's code."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

import stanchion

ROOT = Path(__file__).parents[1]

PUBLIC = {
    "AlreadyAttached",
    "ArtefactError",
    "Attachment",
    "Concept",
    "ConfigError",
    "ESD",
    "ForceForget",
    "Guard",
    "GuardBypassed",
    "GuardError",
    "GuardFailed",
    "GuardRefused",
    "GuardStack",
    "JudgeError",
    "NegativePrompt",
    "PatronusModerator",
    "PictureCheck",
    "SAFREE",
    "SLD",
    "StanchionError",
    "SteerDiff",
    "TraSCE",
    "UCE",
    "UnknownName",
    "UnsupportedPipeline",
    "load_concept",
    "load_guard",
    "load_judge",
    "load_pipeline",
    "load_stack",
}


def test_public_names_are_pinned() -> None:
    assert set(stanchion.__all__) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(stanchion, name).__name__ == name


def test_the_changelog_begins_with_this_version() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == version("stanchion")


def test_readme_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one program, on the model in the box."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    scope: dict[str, object] = {}
    exec("\n".join(blocks), scope)
    assert scope["image"].size == (48, 48)  # type: ignore[attr-defined]
