"""A paper's table: what it measured as specs, and the numbers that it reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ... import config, registry
from ...concepts import Concept
from ...config import Count, checked
from ...errors import ConfigError, UnknownName
from ...files.names import file_name
from ...guards.artefact import CONFIG
from ..results.row import Row
from ..spec.prompt_spec import Spec
from ..spec.variant import UNGUARDED, Variant

FOLDER = Path(__file__).parent
PREFIX = "papers"
METRIC = "unsafe_rate"  # what the reported numbers are, in per cent


@dataclass(frozen=True)
class Paper:
    """A file of this folder.

    Attributes:
        paper: its name and number.
        model: what it was measured on.
        reported_by: where the reported numbers were read.
        concepts: by the names that the tasks give.
        tasks: a benchmark each, by name; a table's file is looked for in ``Choice.prompts``.
        reported: per cent of unsafe pictures, by task, guard (with its variant) and prompt set.
        notes: what a reader must know of these numbers.
    """

    paper: str
    model: str
    reported_by: str
    concepts: dict[str, Concept]
    tasks: dict[str, Spec]
    reported: dict[str, dict[str, dict[str, float]]]
    notes: tuple[str, ...] = ()

    def beside(self, task: str, rows: list[Row]) -> list[Row]:
        """The rows, each with what the paper reports of the same."""
        return [self._beside(self.reported.get(task, {}), row) for row in rows]

    def _beside(self, known: Mapping[str, Mapping[str, float]], row: Row) -> Row:
        value = known.get(guard_of(row), {}).get(row.prompt_set) if row.metric == METRIC else None
        return row if value is None else replace(row, reported=round(value / 100, 6), source=self.reported_by)


@checked
@dataclass(frozen=True)
class Choice:
    """What ``--set`` says of a run.

    Attributes:
        prompts: folder of the tables' files.
        guards: folder of trained guards, each as GUARD-CONCEPT.
        sets: prompt sets that are drawn; empty for all.
        variants: guards that are compared, with their variants ("sld max"); empty for all.
        tasks: empty for all.
        rows: of each set at most; 0 for as many as the paper has.
        concept: a YAML file in the place of the paper's own.
        judge, judge_settings: in the place of the paper's.
        steps, batch: in the place of the paper's; 0 for those.
    """

    prompts: Path = Path("prompts")
    guards: Path = Path("guards")
    sets: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    rows: Count = 0
    concept: str = ""
    judge: str = ""
    judge_settings: dict[str, Any] = field(default_factory=dict)
    steps: Count = 0
    batch: Count = 0


def papers() -> list[str]:
    """The names of all."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def is_paper(name: str) -> bool:
    """Whether ``stanchion bench NAME`` means one."""
    return name.startswith(f"{PREFIX}/")


def load_paper(name: str) -> Paper:
    """``papers/trasce``.

    Raises:
        UnknownName: there is no such table.
    """
    known = [f"{PREFIX}/{one}" for one in papers()]
    if name not in known:
        raise UnknownName(registry.unknown("table", name, known))
    return config.load(Paper, FOLDER / f"{Path(name).name}.yaml")


def write_specs(paper: Paper, choice: Choice, model: str, folder: Path) -> dict[str, Path]:
    """A file for each chosen task, in the folder of the record, and its concepts beside it; by task.

    Raises:
        ConfigError: prompt files or trained guards that are not there; all of them, with where to get them.
        UnknownName: a task, a set or a variant that the paper has not.
    """
    chosen = {task: _chosen(paper.tasks[task], choice, model) for task in _known("task", choice.tasks, paper.tasks)}
    concepts = {name: folder / "concepts" / f"{file_name(name)}.yaml" for name in paper.concepts}
    (folder / "concepts").mkdir(parents=True, exist_ok=True)
    for name, path in concepts.items():  # before anything is missed: the commands that train guards read them
        path.write_text(config.dump(paper.concepts[name]), encoding="utf-8")
    meant = {name: choice.concept or str(path.absolute()) for name, path in concepts.items()}
    if missing := [*dict.fromkeys(line for spec in chosen.values() for line in _missing(spec, meant))]:
        raise ConfigError(f"{paper.paper}: this is needed and not there: {'; '.join(missing)}.")
    written = {task: folder / f"{file_name(task)}.yaml" for task in chosen}
    for task, spec in chosen.items():
        named = replace(spec, concepts=tuple(meant[name] for name in spec.concepts))
        written[task].write_text(config.dump(named), encoding="utf-8")
    return written


def guard_of(row: Row) -> str:
    """The guard of a row as the paper's file calls it."""
    parts = [Path(part).name.removesuffix(f"-{row.concept}") for part in row.guard.split("+")]
    return _title("+".join(parts), row.variant)


def _title(guard: str, variant: str) -> str:
    return guard if variant == "default" else f"{guard} {variant}"


def _chosen(spec: Spec, choice: Choice, model: str) -> Spec:
    """A task as it is run: what was chosen of it, with the files where they are."""
    variants = {_title(one.guard, one.variant): one for one in spec.variants}
    names = [name for name in variants if name == UNGUARDED or name in _known("variant", choice.variants, variants)]
    sets = _known("prompt set", choice.sets, spec.prompts)
    least = {name: min(spec.prompts[name], choice.rows or spec.prompts[name]) for name in sets}
    tables = {name: replace(spec.tables[name], file=str(choice.prompts / spec.tables[name].file)) for name in sets}
    return replace(
        spec,
        model=model,
        prompts=least,
        tables=tables,
        variants=tuple(_with_artefacts(variants[name], spec, choice) for name in names),
        judge=choice.judge or spec.judge,
        judge_settings=choice.judge_settings if choice.judge else {**spec.judge_settings, **choice.judge_settings},
        steps=choice.steps or spec.steps,
        batch=choice.batch or spec.batch,
    )


def _with_artefacts(variant: Variant, spec: Spec, choice: Choice) -> Variant:
    """Trained guards by the folders that they are in."""
    trained = registry.names("recipes")
    concept = spec.concepts[0]
    names = [str(choice.guards / f"{one}-{concept}") if one in trained else one for one in variant.names]
    return replace(variant, guard="+".join(names) or UNGUARDED)


def _missing(spec: Spec, concepts: Mapping[str, str]) -> Iterator[str]:
    """What has to be fetched or trained first, a line each."""
    for name, table in spec.tables.items():
        if not Path(table.file).is_file():
            source = table.source or registry.get("prompts", name).source
            yield f"{table.file}: prompts, from {source}"
    for folder in dict.fromkeys(name for variant in spec.variants for name in variant.names if "/" in name):
        if not Path(folder, CONFIG).is_file():  # also where training was cut off
            guard, _, concept = Path(folder).name.partition("-")
            preset = " --preset paper" if "paper" in registry.get("recipes", guard).presets else ""
            of = f"--concept {concepts[concept]} --model {spec.model} --output {folder}{preset}"
            yield f"{folder}: a trained guard, `stanchion train {guard} {of}`"


def _known(what: str, wanted: tuple[str, ...], known: Mapping[str, Any]) -> list[str]:
    """Those that are wanted, all where none is named."""
    for name in wanted:
        if name not in known:
            raise UnknownName(registry.unknown(what, name, known))
    return [name for name in known if not wanted or name in wanted]
