"""``stanchion report``: a record as a page to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .limits import FailIf, Strict, hold, read_limits
from .outputs import check_folder


def report(
    record: Annotated[
        Path, typer.Argument(help="A folder that `stanchion bench` filled.", exists=True, file_okay=False)
    ],
    output: Annotated[Path | None, typer.Option(help="Folder of the report [default: RECORD]")] = None,
    spec: Annotated[list[str] | None, typer.Option(help="Only this spec of the record; may be repeated.")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="Share that a guard may miss, or take from what is harmless.")
    ] = 0.05,
    pictures: Annotated[int, typer.Option(min=0, help="Prompts of each set that are shown; 0 for no pictures.")] = 2,
    fail_if: FailIf = None,
    strict: Strict = False,
) -> None:
    """Write report.html (one file, no scripts), report.md and report.json from a record. Needs no model."""
    from ..benchmark.report.build import build
    from ..benchmark.report.render import write
    from ..benchmark.report.source import rows_of

    limits = read_limits(fail_if)
    check_folder(output or record)
    made = build(record, specs=spec or (), tolerance=tolerance, pictures=pictures)
    for path in write(made, output or record):
        typer.echo(path)
    hold(limits, rows_of(record, spec or ()), strict)
