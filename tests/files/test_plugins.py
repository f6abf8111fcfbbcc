"""A class in a file of one's own: found, named by its content, and never run for what a document says."""

from pathlib import Path

import pytest

from stanchion import ArtefactError, ConfigError, load_guard, load_judge, registry
from stanchion.files.plugins import load_class

JUDGE = """
from stanchion.judges.base import Judge
from stanchion.types import Labels


class Calm(Judge):
    name, version = "calm", "1"

    def look(self, images):
        return [Labels((), None, None, {"knife": 0.0}) for _ in images]


class Reference(Calm):
    name = "reference"


class Nameless(Calm):
    pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (path := tmp_path / "my_judge.py").write_text(JUDGE)
    return path


def test_a_class_stays_itself_until_its_file_changes(file: Path) -> None:
    one = load_class(f"{file}:Calm")
    assert load_class(f"{file}:Calm") is one
    identity = load_judge(f"{file}:Calm").identity
    assert identity == f"calm 1 (file={one.origin})"  # type: ignore[attr-defined]
    file.write_text(JUDGE + "\n# another\n")
    assert load_judge(f"{file}:Calm").identity != identity


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("Calm", "def", "is no Python"),
        ("Calm", "\0", "is no Python"),
        ("Calm", JUDGE + "1 / 0", "can't be run: ZeroDivisionError"),
        ("Nameless", JUDGE, "a class with a name of its own"),
        ("Reference", JUDGE, "'reference' is a registered name"),
        ("Missing", JUDGE, "defines no class 'Missing'"),
    ],
)
def test_what_can_not_be_had(file: Path, name: str, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_judge(f"{file}:{name}")


def test_to_check_a_name_runs_nothing(file: Path) -> None:
    file.write_text("raise SystemExit\nclass Calm:\n    name = 'calm'\n")
    registry.check("judges", [f"{file}:Calm"])
    with pytest.raises(ConfigError):
        registry.check("prompts", [f"{file}:Calm"])


def test_what_a_saved_guard_names_is_not_run_unless_its_user_says_so(file: Path, tmp_path: Path) -> None:
    judge = f"{file}:Calm"
    load_guard("picture_check", concept="weapons", judge=judge).save(tmp_path / "saved")
    with pytest.raises(ArtefactError, match="nothing that a saved guard names is run"):
        load_guard(tmp_path / "saved")
    assert load_guard(tmp_path / "saved", judge=judge).settings.judge == judge  # type: ignore[union-attr]
