"""From a record to the rows of ``results/*.json``: one for each cell and metric. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ... import config, registry
from ...concepts import Concept, Kind, load_concept
from ...errors import ConfigError
from ...files.documents import json_line, read_json
from ...metrics import find_metric
from ...types import Attempt, Estimate
from ..spec.cells import PromptCell
from ..spec.prompt_spec import Spec
from ..spec.variant import UNGUARDED, Variant
from ..store.attempts import Store
from ..store.provenance import CHANGES, commit, machine
from .differences import COMPARED, paired_difference


@dataclass(frozen=True)
class Subject:
    """What a number is about where it is no concept that a guard knows: an object, a style, everything."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Origin:
    """How a number was made: what all rows of one measurement have in common."""

    judge: str
    model: str
    command: str
    commit: str
    machine: str

    @classmethod
    def now(cls, *, command: str, judge: str = "none", model: str = "reference") -> Origin:
        """Measured by the code as it stands, on this machine."""
        return cls(judge, model, command, commit(), machine())


@dataclass(frozen=True)
class Row:
    """One measured number and all that it takes to make it again. ``low`` and ``high`` are the 95 % interval."""

    guard: str
    variant: str
    concept: str
    kind: str
    prompt_set: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    n_unscored: int
    seeds: str
    judge: str
    model: str
    command: str
    commit: str
    machine: str
    attack: str = "direct"
    adaptive: bool | None = None
    updates: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    reported: float | None = None
    source: str | None = None

    @classmethod
    def of(
        cls,
        metric: str,
        estimate: Estimate,
        concept: Concept | Subject,
        prompt_set: str,
        origin: Origin,
        *,
        seeds: str,
        variant: Variant = Variant(UNGUARDED),  # noqa: B008  # a value
        settings: Mapping[str, Any] = MappingProxyType({}),
        digits: int = 6,
        **more: Any,
    ) -> Row:
        """A number with its origin, rounded; None for what is not finite.

        Args:
            more: other fields, as ``attack`` or ``updates``.
        """

        def rounded(value: float) -> float | None:
            return round(value, digits) if math.isfinite(value) else None

        return cls(
            guard=variant.guard,
            variant=variant.variant,
            concept=concept.name,
            kind=concept.kind,
            prompt_set=prompt_set,
            metric=metric,
            value=rounded(estimate.value),
            low=rounded(estimate.low),
            high=rounded(estimate.high),
            n=estimate.n,
            n_unscored=estimate.n_unscored,
            seeds=seeds,
            settings=dict(settings),
            **vars(origin),
            **more,
        )

    @property
    def first_and_last_seed(self) -> tuple[int, int]:
        """Of the pictures that the number is made of.

        Raises:
            ConfigError: ``seeds`` says something else.
        """
        low, _, high = self.seeds.partition("-")
        if not (low.isdecimal() and high.isdecimal()):
            raise ConfigError(f"row of {self.title!r}: seeds are {self.seeds!r}; they are written as '7-12'.")
        return int(low), int(high)

    @property
    def from_changes(self) -> bool:
        """Whether the code that measured it is in no commit."""
        return self.commit.endswith(CHANGES)

    @property
    def title(self) -> str:
        """The guard with its variant, for tables; a saved guard by its folder."""
        guard = Path(self.guard).name
        return guard if self.variant == "default" else f"{guard} {self.variant}"


def make_rows(spec: Spec, store: Store, *, judge: str, command: str) -> list[Row]:
    """Rows of every cell whose attempts are in the record; ``judge`` is the judge's identity.

    Those of a guard that the spec compares are followed by its differences to every baseline, as metrics
    ``difference_…`` with the baseline's name as the setting ``against``.
    """
    origin = Origin.now(command=command, judge=judge, model=spec.model)
    rows = []
    for cell in spec.cells():
        rows += _cell_rows(spec, store, cell, origin)
        if cell.variant.guard in spec.compare:
            rows += [row for other in spec.baselines for row in _difference_rows(spec, store, cell, other, origin)]
    return rows


def write_rows(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows as JSON, one to a line, so that two versions can be compared by eye."""
    lines = ",\n".join(json_line(asdict(row), ascii=False) for row in rows)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read_rows(path: str | Path) -> list[Row]:
    """The rows that ``write_rows`` wrote.

    Raises:
        ConfigError: the file can't be read or holds no rows.
    """
    try:
        return config.restore(list[Row], read_json(path), where="rows")
    except ConfigError as error:
        raise ConfigError(f"{path}: can't be read as rows of results ({error}).") from error


def _cell_rows(spec: Spec, store: Store, cell: PromptCell, origin: Origin) -> list[Row]:
    attempts = _attempts(spec, store, cell)
    if not attempts:
        return []
    unguarded = _by_prompt(spec, store, replace(cell, variant=spec.variants[0]))
    twins = [unguarded[attempt.prompt.id] for attempt in attempts]
    rows, about = [], about_prompts(spec, cell)
    for metric in _metrics(spec, cell):
        metric.update(attempts, twins)
        own = {"file": metric.origin} if metric.origin else {}
        settings = {**own, **metric.settings, **about}
        rows.append(make_row(spec, cell, metric.name, metric.compute(), attempts, origin, settings))
    return rows


def about_prompts(spec: Spec, cell: PromptCell) -> dict[str, Any]:
    """What decides the cell's prompts, and how many of them are never drawn."""
    skipped = spec.screened(cell).skipped
    return {**spec.prompt_set(cell.prompt_set).settings, **({"skipped": skipped} if skipped else {})}


def _difference_rows(spec: Spec, store: Store, cell: PromptCell, other: Variant, origin: Origin) -> list[Row]:
    """The cell's guard minus ``other`` on the same prompts; none where ``other`` was not measured on them."""
    first, second, unguarded = (
        _by_prompt(spec, store, replace(cell, variant=variant)) for variant in (cell.variant, other, spec.variants[0])
    )
    shared = [name for name in first if name in second]
    if not shared:
        return []
    columns = [[attempts[name] for name in shared] for attempts in (first, second, unguarded)]
    against = {"against": other.title.replace("\n", " ")}
    return [
        make_row(
            spec, cell, f"difference_{metric.name}", paired_difference(metric, *columns), columns[0], origin, against
        )
        for metric in _metrics(spec, cell)
        if metric.name in COMPARED
    ]


def _metrics(spec: Spec, cell: PromptCell) -> list[Any]:
    """Those of the spec that have a meaning for the cell's prompts, fresh."""
    role = spec.prompt_set(cell.prompt_set).role
    kinds = {name: find_metric(name) for name in spec.metrics or registry.names("metrics")}
    wanted = {name: kind for name, kind in kinds.items() if role in kind.roles and (spec.metrics or not kind.optional)}
    return [kind(**spec.metric_settings.get(name, {})) for name, kind in wanted.items()]


def _by_prompt(spec: Spec, store: Store, cell: PromptCell) -> dict[str, Attempt]:
    return {attempt.prompt.id: attempt for attempt in _attempts(spec, store, cell)}


def _attempts(spec: Spec, store: Store, cell: PromptCell) -> list[Attempt]:
    """What the record has of the spec's own prompts; it may hold others from an earlier spec."""
    found = store.cell(cell.variant.guard, cell.variant.variant, cell.concept, cell.prompt_set)
    stored = [(prompt, found[prompt.id].attempt) for prompt in spec.rows(cell) if prompt.id in found]
    return [attempt for prompt, attempt in stored if attempt.prompt == prompt]


def make_row(
    spec: Spec,
    cell: PromptCell,
    name: str,
    estimate: Estimate,
    attempts: Sequence[Attempt],
    origin: Origin,
    settings: Mapping[str, Any],
) -> Row:
    """A metric's estimate over some attempts of a cell."""
    drawing = {"steps": spec.steps, "guidance_scale": spec.guidance_scale, "batch": spec.batch}
    return Row.of(
        name,
        estimate,
        load_concept(cell.concept),
        cell.prompt_set,
        origin,
        variant=cell.variant,
        seeds=_seeds(attempts),
        settings={**drawing, **cell.variant.settings, **settings},
    )


def _seeds(attempts: Sequence[Attempt]) -> str:
    seeds = sorted(attempt.prompt.seed for attempt in attempts)
    return f"{seeds[0]}-{seeds[-1]}"
