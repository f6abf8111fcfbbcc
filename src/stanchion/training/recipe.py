"""What a recipe is: from a concept and an unguarded pipeline to a trained guard in a folder."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .. import config, registry
from ..concepts import Concept, load_concept
from ..errors import ConfigError
from ..files.writers import writing
from ..guards.base import Guard
from ..learning.workers import ALONE, Workers
from ..limits import check_seed
from ..pipeline.families import family_of, kind_of
from ..pipeline.model.text_bench import TextBench
from ..pipeline.model.workbench import Workbench


@dataclass(frozen=True)
class Run:
    """Where a training keeps its checkpoints and its log, what it is seeded with, and who takes part."""

    folder: Path
    seed: int
    workers: Workers = ALONE


class Recipe(ABC):
    """How one guard is trained. Registered under the guard's name.

    Attributes:
        name: the guard's name, and the file's stem.
        Settings: a frozen dataclass of everything that decides the outcome beside concept, model and seed.
        presets: settings by name; "default" fits the reference model, "paper" is the paper's own, "tiny" takes
            seconds and is what tests run.
        opens: what it opens the pipeline with: all of it, or its texts, or what it draws, of which more families are
            known.
    """

    name: ClassVar[str]
    Settings: ClassVar[type]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    opens: ClassVar[type[TextBench]] = Workbench

    def __init__(self, concept: str | Concept, preset: str = "default", **settings: Any) -> None:
        if preset not in self.presets:
            raise ConfigError(registry.unknown(f"preset of {self.name}", preset, self.presets))
        self.concept = load_concept(concept)
        self.settings: Any = config.from_dict(self.Settings, {**self.presets[preset], **settings}, where=self.name)

    @abstractmethod
    def train(self, bench: Any, run: Run) -> Guard:
        """The trained guard. Goes on from what ``run.folder`` holds, to the same result."""


def train_guard(
    name: str,
    pipeline: Any,
    concept: str | Concept,
    folder: str | Path,
    *,
    preset: str = "default",
    seed: int = 0,
    workers: Workers = ALONE,
    **settings: Any,
) -> Guard:
    """Train a guard for a concept on an unguarded pipeline and save it in ``folder``.

    Checkpoints and ``log.jsonl`` lie in ``folder/training``; a run that was cut off goes on from there.

    Raises:
        UnknownName: no recipe of that name.
        ConfigError: an unknown preset or setting, no seed; or the folder holds the training of something else, or
            another process trains in it.
        AlreadyAttached: the pipeline is guarded.
    """
    check_seed(seed, name)
    check_recipe(name, preset, settings)
    recipe: Recipe = registry.get("recipes", name)(concept, preset, **settings)
    bench, folder = recipe.opens(pipeline), Path(folder)
    if not issubclass(recipe.opens, Workbench):
        family_of(pipeline).check_guards(kind_of(pipeline), [registry.get("guards", name)])
    run = Run(folder / "training", seed, workers)
    with writing(folder) if workers.first else nullcontext():
        _claim(run, recipe, bench)
        start = time.monotonic()
        guard = recipe.train(bench, run)
    about = {"recipe": recipe.name, "settings": config.to_dict(recipe.settings), "seed": seed}
    guard.training = {**about, "seconds": round(time.monotonic() - start, 1), **guard.training}
    if workers.first:
        guard.save(folder)
    workers.wait()
    return guard


def check_recipe(name: str, preset: str, settings: Mapping[str, Any]) -> None:
    """Raise for a preset or settings that a recipe does not have, whatever their keys are. Needs no pipeline.

    Raises:
        UnknownName: no recipe of that name.
        ConfigError: an unknown preset or setting.
    """
    kind = registry.get("recipes", name)
    if preset not in kind.presets:
        raise ConfigError(registry.unknown(f"preset of {name}", preset, kind.presets))
    config.from_dict(kind.Settings, {**kind.presets[preset], **settings}, where=name)


def _claim(run: Run, recipe: Recipe, bench: TextBench) -> None:
    """One folder, one training: going on with other settings would give neither result."""
    wanted = config.fingerprint(
        [recipe.name, recipe.concept.to_dict(), config.to_dict(recipe.settings), run.seed, bench.identity]
    )
    mark = run.folder / "run.txt"
    if mark.is_file() and mark.read_text(encoding="utf-8").strip() != wanted:
        raise ConfigError(
            f"{run.folder} holds another training (of other settings, seed, concept or model); give another folder."
        )
    if run.workers.first:
        run.folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(wanted + "\n", encoding="utf-8")
    run.workers.wait()
