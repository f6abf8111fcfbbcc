"""``stanchion study``: what measures one question each."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import registry
from ..errors import ConfigError
from ..files.writers import writing
from .options import Processes
from .outputs import check_folder
from .settings import parse_values

RESULTS, ROWS = Path("results"), "rows.json"
SPECS = ("spec", "specs")  # settings of studies that name files of a checkout


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
    values = parse_values(settings or [])
    _check_specs(name, values)
    folder = check_folder(output or RESULTS / name)
    _measure(name, values, folder, check_folder(record or Path("runs") / name), processes, minutes)


def _check_specs(name: str, values: Mapping[str, Any]) -> None:
    """Whether the specs that a study reads are there, before anything is imported that takes long.

    Raises:
        UnknownName: no such study.
        ConfigError: a spec is missing.
    """
    for key, usual in _usual_specs(name).items():
        asked, given = values.get(key, usual), "FILE" if isinstance(usual, str) else "[FILE, …]"
        for path in asked if isinstance(asked, list | tuple) else [asked]:
            if isinstance(path, str) and not Path(path).is_file():
                raise ConfigError(
                    f"study {name}: there is no file {path!r}. Run it in a checkout of Stanchion, which holds what the "
                    f"default settings name, or name another: --set {key}={given}."
                )


def _usual_specs(name: str) -> dict[str, Any]:
    """The defaults of a study's settings that name specs, from its text: its imports take many seconds."""
    registry.check("studies", [name])
    file = registry.entries("studies")[name].file
    parts = ast.parse(file.read_text(encoding="utf-8")).body if file else []
    settings = [part for part in parts if isinstance(part, ast.ClassDef) and part.name == "Settings"]
    fields = [field for part in settings for field in part.body if isinstance(field, ast.AnnAssign) and field.value]
    said = {ast.unparse(field.target): field.value for field in fields}
    return {key: ast.literal_eval(value) for key, value in said.items() if key in SPECS and value}


def _measure(
    name: str, values: Mapping[str, Any], output: Path, record: Path, processes: int, minutes: float | None
) -> None:
    from .. import config
    from ..benchmark.results.row import write_rows
    from ..benchmark.run.engine import Clock
    from ..benchmark.run.executors.local import carry_out
    from ..benchmark.studies.base import StudyJob, rows_of
    from ..pipeline.loading import without_progress_bars

    kind = registry.get("studies", name).Settings
    job = StudyJob(name, config.from_dict(kind, values, where=f"study {name}"), record)
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
