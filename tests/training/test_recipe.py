"""One folder, one training; what a trained guard says of how it was made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

import tiny
from stanchion import load_guard, registry
from stanchion.errors import AlreadyAttached, ConfigError, UnknownName
from stanchion.guards.base import Guard
from stanchion.training.recipe import Recipe, Run, train_guard


@dataclass(frozen=True)
class SmallSettings:
    steps: int = 1
    rate: float = 0.5


class Small(Recipe):
    """Trains nothing: what is tested is what stands around it."""

    name = "small"
    Settings = SmallSettings
    presets: ClassVar = {"default": {}, "tiny": {"steps": 2}}

    def train(self, bench: Any, run: Run) -> Guard:
        assert run.folder.is_dir()
        guard = load_guard("negative_prompt", concept=self.concept)
        assert isinstance(guard, Guard)
        guard.training = {"loss": 0.25}
        return guard


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = registry.get
    monkeypatch.setattr(registry, "get", lambda kind, name: Small if name == "small" else stock(kind, name))


def train(folder: Path, seed: int = 0, model: int = 0, concept: str = "weapons", **settings: Any) -> Guard:
    return train_guard("small", tiny.pipeline(seed=model), concept, folder, seed=seed, **settings)


def test_the_guard_is_saved_and_says_how_it_was_made(tmp_path: Path) -> None:
    train(tmp_path, seed=7, preset="tiny", rate=0.25)
    saved = load_guard(tmp_path)
    assert isinstance(saved, Guard)
    assert saved.concept.name == "weapons"
    assert {key: value for key, value in saved.training.items() if key != "seconds"} == {
        "recipe": "small",
        "settings": {"steps": 2, "rate": 0.25},
        "seed": 7,
        "loss": 0.25,
    }
    assert saved.training["seconds"] >= 0


def test_the_same_training_may_go_on_in_its_folder(tmp_path: Path) -> None:
    train(tmp_path, preset="tiny")
    train(tmp_path, steps=2)  # the same settings, said in another way


@pytest.mark.parametrize("other", [{"steps": 3}, {"preset": "tiny"}, {"seed": 1}, {"model": 1}, {"concept": "banana"}])
def test_another_training_in_the_same_folder_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    train(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ConfigError, match="holds another training"):
        train(tmp_path, **other)
    assert (tmp_path / "config.json").read_bytes() == before


def test_mistakes_leave_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "guard"
    with pytest.raises(ConfigError, match="unknown preset of small 'papr'"):
        train(folder, preset="papr")
    with pytest.raises(ConfigError, match="small: unknown key 'step'; did you mean steps"):
        train(folder, step=1)
    with pytest.raises(UnknownName):
        train(folder, concept="wepons")
    pipe = tiny.pipeline()
    with load_guard("negative_prompt", concept="ink").attach(pipe), pytest.raises(AlreadyAttached, match="detach"):
        train_guard("small", pipe, "weapons", folder)
    assert not folder.exists()
