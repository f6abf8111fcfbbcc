"""``stanchion study``: what measures one question each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import registry
from ..files.writers import writing
from .options import Processes
from .outputs import check_folder
from .settings import parse_values

RESULTS, ROWS = Path("results"), "rows.json"


def study(
    name: Annotated[str | None, typer.Argument(help="Which one; without a name, all of them are listed.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the study; may repeat.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of rows and tables [default: results/NAME]")] = None,
    record: Annotated[Path | None, typer.Option(help="Folder of what is done [default: runs/NAME]")] = None,
    processes: Processes = 1,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so long; run again to go on.")] = None,
) -> None:
    """Measure one question, and write its rows and table.

    Interrupted, it goes on where it stopped when it is run again. Times are taken last, in one
    process, whatever --processes says.
    """
    if name is None:
        for known, entry in registry.entries("studies").items():
            typer.echo(f"{known}  {entry.summary}\n    {RESULTS / known / ROWS}")
        return
    folder = check_folder(output or RESULTS / name)
    _measure(name, settings or [], folder, check_folder(record or Path("runs") / name), processes, minutes)


def _measure(name: str, settings: list[str], output: Path, record: Path, processes: int, minutes: float | None) -> None:
    from .. import config
    from ..benchmark.results.row import write_rows
    from ..benchmark.run.engine import Clock
    from ..benchmark.run.executors.local import carry_out
    from ..benchmark.studies.base import StudyJob, rows_of
    from ..pipeline.loading import without_progress_bars

    kind = registry.get("studies", name).Settings
    job = StudyJob(name, config.from_dict(kind, parse_values(settings), where=f"study {name}"), record)
    without_progress_bars()
    with writing(record):
        whole = carry_out(
            job, processes=processes, clock=Clock.after(minutes), tell=lambda title: typer.echo(title, err=True)
        )
    rows = rows_of(job)
    write_rows(output / ROWS, rows)
    for file, text in {"spec.yaml": config.dump(job.settings), **job.study().files(rows)}.items():
        (output / file).write_text(text, encoding="utf-8")
    typer.echo(f"rows: {output / ROWS}")
    if not whole:
        typer.echo("stopped by --minutes: these are the rows of what is done; run the same command again to go on.")
