"""``stanchion bench``: run a spec into a record, and write the rows and grids that follow from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..concepts import Role
from ..errors import ConfigError
from ..files.names import file_name
from ..files.shards import Shard
from ..files.writers import Part, writing
from .cluster import Ray
from .limits import FailIf, Strict, hold, leave_unchecked, read_limits
from .options import OwnPrompts, Processes
from .outputs import check_file, check_folder
from .own_prompts import check_alone, write_spec
from .papers import bench_paper
from .settings import parse_values

if TYPE_CHECKING:
    from ..benchmark.results.row import Row
    from ..benchmark.run.benchmark_run import BenchmarkRun
    from ..benchmark.run.executors.local import Job
    from ..benchmark.spec.prompt_spec import Spec
    from ..benchmark.store.attempts import Store

CLAIMS, PAPERS = "claims", "papers"


def bench(
    spec: Annotated[
        Path | None, typer.Argument(help="A YAML file; `claims`; or `papers/NAME`, a paper's table.", dir_okay=False)
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the record [default: runs/SPEC]")] = None,
    rows: Annotated[Path | None, typer.Option(help="File for the rows [default: beside SPEC]")] = None,
    concept: Annotated[str | None, typer.Option(help="Fill only the cells of this concept; write no rows.")] = None,
    shard: Annotated[str | None, typer.Option(help="I/N: fill the I-th of N parts; write no rows.")] = None,
    processes: Processes = 1,
    ray: Ray = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so long; run again to go on.")] = None,
    grid: Annotated[int, typer.Option(min=0, help="Prompts in each picture grid; 0 for none.")] = 6,
    prompts: OwnPrompts = None,
    guard: Annotated[
        list[str] | None, typer.Option(help="With --prompts: the guards or the stack measured; may repeat.")
    ] = None,
    role: Annotated[Role | None, typer.Option(help="With --prompts: what its pictures show [default: unsafe].")] = None,
    model: Annotated[str | None, typer.Option(help="With --prompts [reference] or a paper [its own].")] = None,
    judge: Annotated[str | None, typer.Option(help="With --prompts [default: reference].")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="With a paper: KEY=VALUE, as prompts=FOLDER; may repeat.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="With `claims`: its page [default: beside the rows].")] = None,
    fail_if: FailIf = None,
    strict: Strict = False,
) -> None:
    """Run SPEC, or measure guards on prompts of your own. Interrupted, it goes on where it stopped when run again.

    --processes N draws in N processes at once, --ray on the machines of a cluster. Several machines can fill one
    record too, each with its own --concept or its own --shard; a last run without these writes the rows.
    """
    check_alone(prompts, spec, "a SPEC")
    way = _Way(shard, processes, minutes, ray)
    if prompts is None and spec is not None and spec.parts[0] == PAPERS and not spec.is_file():
        others = {"--role": role, "--judge": judge, "--concept": concept, "--page": page, "--ray": ray}
        _refuse("bench papers/NAME", {"--guard": guard, **others})
        return _paper(str(spec), output, rows, model, settings, way, fail_if, strict)
    _refuse("bench", {"--set": settings})
    if prompts is None:
        _refuse("bench SPEC", {"--guard": guard, "--role": role, "--model": model, "--judge": judge})
    else:
        spec = write_spec(prompts, output, guards=guard, concept=concept, role=role, model=model, judge=judge)
        output, concept = spec.parent, None
    if str(spec) == CLAIMS and not Path(CLAIMS).is_file():
        _refuse("bench claims", {"--concept": concept, "--fail-if": fail_if, "--ray": ray})
        _claims(output or Path("runs") / CLAIMS, rows, page, way)
    elif spec is not None:
        _refuse("bench SPEC", {"--page": page})
        _bench(spec, output, rows, concept, way, grid, fail_if, strict)
    return None


def _paper(
    name: str,
    output: Path | None,
    rows: Path | None,
    model: str | None,
    settings: list[str] | None,
    way: _Way,
    fail_if: list[str] | None,
    strict: bool,
) -> None:
    """A paper's table, held against the limits where it is whole."""
    values, limits = parse_values(settings or []), read_limits(fail_if, way.part)
    found = bench_paper(name, output, rows, model, values, processes=way.processes, **way.options)
    leave_unchecked(limits) if found is None else hold(limits, found, strict)


def _bench(
    spec: Path,
    output: Path | None,
    rows: Path | None,
    concept: str | None,
    way: _Way,
    grid: int,
    fail_if: list[str] | None,
    strict: bool,
) -> None:
    """Fill the record, or a part of it; write the rows of a whole one and hold them against the limits."""
    from ..benchmark.spec.paths import name_of, rows_beside

    part = way.part if concept is None else concept
    limits = read_limits(fail_if, part)
    folder, rows = output or Path("runs") / name_of(spec), rows or rows_beside(spec)
    if not (run := _run(spec, folder, rows, concept, way)):
        leave_unchecked(limits)
    elif part:
        typer.echo(f"filled: {part}; when every part is, run the command without --concept and --shard for rows.")
    else:
        hold(limits, _finish(run, spec, rows, grid), strict)


class _Way:
    """How a job is carried out: as the options say."""

    def __init__(self, shard: str | None, processes: int, minutes: float | None, ray: str | None) -> None:
        from ..benchmark.run.engine import Clock

        if ray and processes > 1:
            raise ConfigError("--ray has a process for each task; it takes no --processes.")
        self.part, self.shard, self.ray, self.processes = shard, Shard.parse(shard), ray, processes
        self.options: dict[str, Any] = {"shard": self.shard, "clock": Clock.after(minutes)}

    def carry_out(self, job: Job) -> bool:
        """Fill the job's record; False where the clock passed first."""
        if self.ray is None:
            from ..benchmark.run.executors import local

            return local.carry_out(job, processes=self.processes, **self.options)
        from ..benchmark.run.executors import ray

        with ray.cluster(self.ray):
            return ray.carry_out(job, **self.options)


def _run(spec: Path, folder: Path, rows: Path, concept: str | None, way: _Way) -> BenchmarkRun | None:
    """Fill the record; None where the clock passed first."""
    from ..benchmark.run.benchmark_run import BenchmarkJob
    from ..benchmark.spec.paths import name_of, table_beside
    from ..benchmark.spec.prompt_spec import load_spec
    from ..benchmark.store.manifest import file_spec
    from ..pipeline.loading import without_progress_bars

    wanted = load_spec(spec)
    asked = _of_concept(wanted, concept, spec.name)
    check_folder(folder), check_file(rows), check_file(table_beside(rows) or rows)
    _check_guards(asked)
    without_progress_bars()
    with writing(folder, Part(concept or "", way.shard)):
        file_spec(folder, name_of(spec), wanted)
        job = BenchmarkJob(wanted, folder, concept or "")
        if way.carry_out(job):
            return job.open(way.shard)
        typer.echo("stopped by --minutes; run the same command again to go on.", err=True)
        return None


def _refuse(command: str, given: dict[str, object]) -> None:
    """Options that this command would pass over."""
    if named := [name for name, value in given.items() if value is not None]:
        raise ConfigError(f"{command} takes no {' and no '.join(named)}.")


def _of_concept(spec: Spec, concept: str | None, name: str) -> Spec:
    """The spec, or what of it is about one concept."""
    from .. import registry
    from ..errors import UnknownName

    if concept is None:
        return spec
    if concept not in spec.concepts:
        raise UnknownName(registry.unknown(f"concept of {name}", concept, spec.concepts))
    return replace(spec, concepts=(concept,))


def _claims(output: Path, rows: Path | None, page: Path | None, way: _Way) -> None:
    """Measure every claim into the record, and write rows and page."""
    from ..benchmark.results.row import write_rows
    from ..benchmark.spec.paths import table_beside
    from ..benchmark.studies.claims import page as pages
    from ..benchmark.studies.claims.claim import load_claims
    from ..benchmark.studies.claims.run import measure
    from ..pipeline.loading import without_progress_bars

    rows = check_file(rows or output / f"{CLAIMS}.json")
    page = check_file(page or table_beside(rows) or rows.with_suffix(".md"))
    check_folder(output)
    without_progress_bars()
    with writing(output, Part(shard=way.shard)):
        found = measure(output, tell=lambda text: typer.echo(text, err=True), processes=way.processes, **way.options)
    if found is None:
        typer.echo("stopped, or a part is filled; run the command without --minutes and --shard for the page.")
        return
    write_rows(rows, found)
    page.write_text(pages.page(load_claims(), found), encoding="utf-8")
    typer.echo(f"rows: {rows}\npage: {page}")


def _finish(run: BenchmarkRun, source: Path, target: Path, grid: int) -> list[Row]:
    """Rows into ``target`` and into the record, a table beside a ``rows.json``, grids into the record."""
    from ..benchmark.results.row import write_rows
    from ..benchmark.results.tables.markdown import page
    from ..benchmark.spec.paths import name_of, table_beside

    rows = run.rows(name_of(source), f"stanchion bench {source}")
    for reason, count in _unscored(run.store).most_common():
        typer.echo(f"unscored: {count} attempts: {reason}", err=True)
    write_rows(target, rows)
    typer.echo(f"rows: {target}")
    if table := table_beside(target):
        table.write_text(page(name_of(source), rows), encoding="utf-8")
        typer.echo(f"table: {table}")
    if grid:
        typer.echo(f"grids: {_grids(run.spec, run.store, grid)}")
    return rows


def _unscored(store: Store) -> Counter[str]:
    """Why attempts have no verdict, and how many."""
    verdicts = [entry.attempt.verdict for entry in store.entries()]
    return Counter(verdict.reason for verdict in verdicts if verdict.unsafe is None)


def _check_guards(spec: Spec) -> None:
    """Load every guard once, so that a mistake shows before hours of drawing."""
    from ..benchmark.run.image_generator import guards_of
    from ..concepts import load_concept

    for variant in spec.variants[1:]:
        for concept in spec.concepts:
            guards_of(variant, load_concept(concept), spec.model)


def _grids(spec: Spec, store: Store, count: int) -> Path:
    """A contact sheet for each concept and prompt set: rows are prompts, columns are variants."""
    from ..benchmark.images.grids import grid
    from ..concepts import load_concept

    folder = store.folder / "grids"
    folder.mkdir(exist_ok=True)
    for concept in spec.concepts:
        for prompt_set in spec.prompts:
            if sheet := grid(spec, store, concept, {prompt_set: count}):
                sheet.save(folder / f"{file_name(load_concept(concept).name, prompt_set)}.jpg", quality=88)
    return folder
