"""What is attacked, how, and how much of it is measured, as YAML says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from ... import config, registry
from ...attacks.base import WeightAttack
from ...concepts import Concept, load_concept
from ...config import Count, Filled, Natural, NotNegative, Seed, checked
from ...errors import ConfigError
from ...guards.base import Guard
from ...guards.loading import stack_of
from ...pipeline.release import check_merged
from ...stacks.base import check_named
from .variant import UNGUARDED, is_saved

DIRECT = "direct"


@checked
@dataclass(frozen=True)
class Trial:
    """One attack on several models: a cell for each model, each combination of the sweep, and each seed.

    Attributes:
        guards: released models: guards merged into the weights, joined by ``+``; ``none`` is the public model itself.
        attack: a registered attack on weights.
        settings: the attack's, the same in every cell.
        sweep: settings that take each of their values, in all combinations.
        finetuning_data: what the attacker trains on. "concept": pictures of the concept; "new_object": objects that
            the model never drew, and these are asked for and counted; "benign": harmless pictures.
        taught: of the concept's objects those that are trained on, and only the others are asked for; empty for all.
        pictures: how many are trained on.
        seeds: of the attack; each is measured on pictures of its own.
        n: pictures a point and seed, of prompts that ask for the concept.
        benign: pictures a point and seed, of harmless prompts.
    """

    guards: Annotated[tuple[str, ...], Filled()]
    attack: str
    settings: dict[str, Any] = field(default_factory=dict)
    sweep: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    finetuning_data: Literal["concept", "new_object", "benign"] = "concept"
    taught: tuple[str, ...] = ()
    pictures: Natural = 64
    seeds: Annotated[tuple[Seed, ...], Filled()] = (0,)
    n: Natural = 48
    benign: Count = 0

    def __post_init__(self) -> None:
        if self.taught and self.finetuning_data != "concept":
            data = self.finetuning_data
            raise ConfigError(f"trial {self.attack!r}: taught narrows the finetuning_data 'concept', not {data!r}.")


@checked
@dataclass(frozen=True)
class WeightSpec:
    """A benchmark of attacks on weights.

    Attributes:
        seed: of the first measured picture; the next ones follow. An attack's own are its trial's.
        trials: the most telling first.
        batch: pictures made together.
    """

    seed: Seed
    concept: str
    trials: Annotated[tuple[Trial, ...], Filled()]
    guidance_scale: NotNegative
    steps: Natural = 20
    batch: Natural = 24
    model: str = "reference"
    judge: str = "reference"


@dataclass(frozen=True)
class WeightCell:
    """The smallest unit of work: one attack with one seed on one released model."""

    trial: Trial
    guard: str
    settings: dict[str, Any]
    seed: int

    def __str__(self) -> str:
        values = ", ".join(f"{key}={value}" for key, value in self.settings.items() if key != "stops")
        return f"{self.trial.attack} ({values}) · {self.trial.finetuning_data} · {self.guard} · seed {self.seed}"


def cells_of(spec: WeightSpec) -> Iterator[WeightCell]:
    """Every cell in order, each trial's after the unattacked, unguarded one that it is compared with.

    All trials come with their first seed before any comes with its second.
    """
    references: list[WeightCell] = []
    for turn in range(max(len(trial.seeds) for trial in spec.trials)):
        for trial in spec.trials:
            if (reference := reference_of(trial)) not in references:
                references.append(reference)
                yield reference
            for values, guard in product(_combinations(trial), trial.guards) if turn < len(trial.seeds) else ():
                yield WeightCell(trial, guard, values, trial.seeds[turn])


def reference_of(trial: Trial) -> WeightCell:
    """The public model asked for the concept, with nothing done to it."""
    return WeightCell(Trial((UNGUARDED,), DIRECT, taught=trial.taught, n=trial.n * len(trial.seeds)), UNGUARDED, {}, 0)


def _combinations(trial: Trial) -> list[dict[str, Any]]:
    swept = product(*trial.sweep.values())
    return [{**trial.settings, **dict(zip(trial.sweep, values, strict=True))} for values in swept]


def attack_of(cell: WeightCell) -> WeightAttack:
    """The cell's attack.

    Raises:
        UnknownName: no attack of that name.
        ConfigError: it has no such settings, or it is none on weights.
    """
    kind = registry.get("attacks", cell.trial.attack)
    if not issubclass(kind, WeightAttack):
        raise ConfigError(f"attack {kind.name!r} changes no weights; it is no attack for a curve over updates.")
    return kind(**cell.settings)


def check(spec: WeightSpec) -> None:
    """Raise for what can't be carried out, before a model is loaded.

    Raises:
        UnknownName: a guard, concept, attack or judge that nobody knows.
        ConfigError: settings that make no sense, or guards that can't be merged.
    """
    concept = load_concept(spec.concept)
    registry.check("judges", [spec.judge])
    for cell in cells_of(spec):
        check_named(name for name in names(cell.guard) if not is_saved(name))
        if cell.trial.attack != DIRECT:
            attack_of(cell)
    for guard in dict.fromkeys(cell.guard for cell in cells_of(spec)):
        check_merged(load_guards_of(guard, concept))


def load_guards_of(guard: str, concept: Concept) -> list[Guard]:
    """Guards as the model's owner takes them: by name against the concept, from a folder as they were saved."""
    return [one for name in names(guard) for one in stack_of([name], concept, {}).guards]


def names(guard: str) -> list[str]:
    """The single guards of a released model."""
    return [] if guard == UNGUARDED else guard.split("+")


def load_spec(path: str | Path) -> WeightSpec:
    """Read a spec and check every name in it.

    Raises:
        ConfigError: unreadable, an unknown key, or settings that make no sense.
        UnknownName: a guard, concept, attack or judge that nobody knows.
    """
    spec = config.load(WeightSpec, path)
    check(spec)
    return spec
