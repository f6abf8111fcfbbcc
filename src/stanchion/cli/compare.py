"""``stanchion compare``: what changed between two measurements."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..benchmark.results.compare import Change

HEAD = ("guard", "concept", "prompts", "metric", "first", "second", "change", "by", "outcome")
TONES = {"better": typer.colors.GREEN, "worse": typer.colors.RED}


def compare(
    first: Annotated[Path, typer.Argument(help="A record's folder, or a file of rows as in results/.", exists=True)],
    second: Annotated[Path, typer.Argument(help="What it is compared with.", exists=True)],
    all_: Annotated[bool, typer.Option("--all", help="Also what did not change beyond doubt.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Everything, as JSON on standard output.")] = False,
) -> None:
    """Compare SECOND with FIRST: by shared prompts and seeds where both are records, else by their intervals.

    Nothing but what changed beyond doubt is shown, unless --all is given.
    """
    from ..benchmark.results.compare import compare as compare_sides

    changes = compare_sides(first, second)
    if json:
        typer.echo(json_format.dumps([_plain(change) for change in changes], indent=1, ensure_ascii=False))
        return
    shown = [change for change in changes if all_ or change.outcome != "same"]
    if shown:
        _print([_line(change) for change in shown], [change.outcome for change in shown])
    counts = {outcome: sum(change.outcome == outcome for change in changes) for outcome in (*TONES, "changed", "same")}
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    typer.echo(f"{len(changes)} numbers compared: {told}.")


def _line(change: Change) -> tuple[str, ...]:
    from ..benchmark.results.units import DIFFERENCE, POINTS, SHARE, unit_of

    row, unit = change.first, unit_of(change.first.metric)
    points = POINTS if unit is SHARE else unit_of(f"{DIFFERENCE}{row.metric}") if unit is POINTS else unit
    moved = points.number(change.difference)
    if change.low is not None and change.high is not None:
        moved += f" [{points.number(change.low)}, {points.number(change.high)}]"
    attack = "" if row.attack == "direct" else f", {row.attack}"
    by = f"{change.n} pairs" if change.n else "intervals"
    values = (_value(change.first), _value(change.second))
    return (row.title, row.concept, f"{row.prompt_set}{attack}", row.metric, *values, moved, by, change.outcome)


def _value(row: object) -> str:
    from ..benchmark.report.render import said

    return said(row)  # type: ignore[arg-type]


def _print(lines: Sequence[Sequence[str]], outcomes: Sequence[str]) -> None:
    widths = [max(len(line[place]) for line in (HEAD, *lines)) for place in range(len(HEAD))]
    typer.secho("  ".join(f"{text:<{width}}" for text, width in zip(HEAD, widths, strict=True)), bold=True)
    for line, outcome in zip(lines, outcomes, strict=True):
        text = "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
        typer.secho(text, fg=TONES.get(outcome))


def _plain(change: Change) -> dict[str, object]:
    row = change.first
    where = {name: getattr(row, name) for name in ("guard", "variant", "concept", "prompt_set", "attack", "adaptive")}
    sides = {
        side: {name: getattr(found, name) for name in ("value", "low", "high", "n", "n_unscored", "commit", "judge")}
        for side, found in (("first", change.first), ("second", change.second))
    }
    moved = {name: getattr(change, name) for name in ("difference", "low", "high", "n", "outcome")}
    return {**where, "metric": row.metric, **sides, **moved, "paired": change.n > 0}
