"""``stanchion bench``: run a spec into a record, and write the rows and grids that follow from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from ..files.names import file_name
from ..files.writers import Part, writing
from .gates import FailIf, Strict, hold, leave_unchecked, read_gates
from .outputs import check_file, check_folder

if TYPE_CHECKING:
    from ..benchmark.results.row import Row
    from ..benchmark.run.benchmark_run import BenchmarkRun
    from ..benchmark.spec.prompt_spec import Spec
    from ..benchmark.store.attempts import Store

CLAIMS = "claims"


def bench(
    spec: Annotated[Path, typer.Argument(help="A YAML file; or `claims`, the four papers' claims.", dir_okay=False)],
    output: Annotated[Path | None, typer.Option(help="Folder of the record [default: runs/SPEC]")] = None,
    rows: Annotated[Path | None, typer.Option(help="File for the rows [default: SPEC with .json]")] = None,
    concept: Annotated[str | None, typer.Option(help="Fill only the cells of this concept; write no rows.")] = None,
    share: Annotated[str | None, typer.Option(help="I/N: fill the I-th of N parts; write no rows.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so long; run again to go on.")] = None,
    grid: Annotated[int, typer.Option(min=0, help="Prompts in each picture grid; 0 for none.")] = 6,
    page: Annotated[Path | None, typer.Option(help="With `claims`: its page [default: beside the rows].")] = None,
    fail_if: FailIf = None,
    strict: Strict = False,
) -> None:
    """Run SPEC. Interrupted, it goes on where it stopped when it is run again.

    Several processes can fill one record, each with its own --concept or its own --share; a last run without these
    writes the rows.
    """
    if str(spec) == CLAIMS and not spec.is_file():
        _refuse("bench claims", {"--concept": concept, "--fail-if": fail_if})
        _claims(output or Path("runs") / CLAIMS, rows, page, _until(minutes), share)
    else:
        _refuse("bench SPEC", {"--page": page})
        folder = output or Path("runs") / spec.stem
        _run(spec, folder, rows or spec.with_suffix(".json"), concept, share, _until(minutes), grid, fail_if, strict)


def _run(
    spec: Path,
    folder: Path,
    rows: Path,
    concept: str | None,
    share: str | None,
    until: float,
    grid: int,
    fail_if: FailIf,
    strict: Strict,
) -> None:
    from ..benchmark.run.benchmark_run import BenchmarkRun
    from ..benchmark.spec.prompt_spec import load_spec
    from ..benchmark.spec.shard import read_share
    from ..benchmark.store.attempts import Store
    from ..benchmark.store.manifest import file_spec
    from ..pipeline.loading import without_progress_bars

    part = share if concept is None else concept
    gates = read_gates(fail_if, part)
    wanted, mine = load_spec(spec), read_share(share)
    asked = _of_concept(wanted, concept, spec.name)
    check_folder(folder), check_file(rows)
    _check_guards(asked)
    without_progress_bars()
    with writing(folder, Part(concept or "", mine)):
        store = Store(folder, part=_part(concept, share))
        file_spec(store.folder, spec.stem, wanted)
        campaign = BenchmarkRun(asked, store)
        if not campaign.run(until=until, share=mine):
            typer.echo("stopped by --minutes; run the same command again to go on.", err=True)
            leave_unchecked(gates)
        elif part:
            typer.echo(f"filled: {part}; when every part is, run the command without --concept and --share for rows.")
        else:
            hold(gates, _finish(campaign, spec, rows, grid), strict)


def _refuse(command: str, given: dict[str, object]) -> None:
    """Options that this command would pass over."""
    if named := [name for name, value in given.items() if value is not None]:
        raise ConfigError(f"{command} takes no {' and no '.join(named)}.")


def _until(minutes: float | None) -> float:
    """The clock at which to stop."""
    import time

    return float("inf") if minutes is None else time.monotonic() + 60 * minutes


def _of_concept(spec: Spec, concept: str | None, name: str) -> Spec:
    """The spec, or what of it is about one concept."""
    from .. import registry
    from ..errors import UnknownName

    if concept is None:
        return spec
    if concept not in spec.concepts:
        raise UnknownName(registry.unknown(f"concept of {name}", concept, spec.concepts))
    return replace(spec, concepts=(concept,))


def _claims(output: Path, rows: Path | None, page: Path | None, until: float, share: str | None) -> None:
    """Measure every claim into the record, and write rows and page."""
    from ..benchmark.results.row import write_rows
    from ..benchmark.spec.shard import read_share
    from ..benchmark.studies.claims import page as pages
    from ..benchmark.studies.claims.claim import load_claims
    from ..benchmark.studies.claims.run import measure
    from ..pipeline.loading import without_progress_bars

    mine = read_share(share)
    rows = check_file(rows or output / f"{CLAIMS}.json")
    page = check_file(page or rows.with_suffix(".md"))
    check_folder(output)
    without_progress_bars()
    with writing(output, Part(share=mine)):
        found = measure(output, tell=lambda text: typer.echo(text, err=True), until=until, share=mine)
    if found is None:
        typer.echo("stopped, or a part is filled; run the command without --minutes and --share for the page.")
        return
    write_rows(rows, found)
    page.write_text(pages.page(load_claims(), found), encoding="utf-8")
    typer.echo(f"rows: {rows}\npage: {page}")


def _part(concept: str | None, share: str | None) -> str:
    """What names this process's part of the record."""
    names = [*([concept] if concept else []), *([share.replace("/", "of")] if share else [])]
    return file_name(*names) if names else ""


def _finish(campaign: BenchmarkRun, source: Path, target: Path, grid: int) -> list[Row]:
    """Rows into ``target`` and into the record, grids into the record."""
    from ..benchmark.results.row import write_rows

    rows = campaign.rows(source.stem, f"stanchion bench {source}")
    for reason, count in _unscored(campaign.store).most_common():
        typer.echo(f"unscored: {count} attempts: {reason}", err=True)
    write_rows(target, rows)
    typer.echo(f"rows: {target}")
    if grid:
        typer.echo(f"grids: {_grids(campaign.spec, campaign.store, grid)}")
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
            guards_of(variant, load_concept(concept))


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
