"""``--fail-if`` of the commands that measure: exit code 1, and which number was not as it must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..benchmark.results.limits import Limit
    from ..benchmark.results.row import Row

BROKEN = 1

FailIf = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[WHERE:…]METRIC SIGN NUMBER",
        help="End with code 1 where a row is so, as in 'weapons:unsafe_rate > 5%'; may be given several times.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Hold --fail-if against the interval's bad end.")]


def read_limits(texts: Sequence[str] | None, concept: str | None = None) -> list[Limit]:
    """The limits, before anything slow begins.

    Args:
        concept: what ``stanchion bench --concept`` was given; it writes no rows, so there would be nothing to check.
    """
    from ..benchmark.results.limits import parse
    from ..errors import ConfigError

    if texts and concept:
        raise ConfigError("--fail-if needs rows, and --concept writes none; give it to the last run, or to report.")
    return [parse(text) for text in texts or ()]


def hold(limits: Sequence[Limit], rows: Sequence[Row], strict: bool) -> None:
    """Leave with code 1 and a line for every row that breaks a limit."""
    broken = [line for limit in limits for line in limit.broken_by(rows, strict=strict)]
    for line in broken:
        typer.echo(f"failed: {line}", err=True)
    if broken:
        raise typer.Exit(BROKEN)
    if limits:
        typer.echo(f"limits: {len(limits)} held")


def leave_unchecked(limits: Sequence[Limit]) -> None:
    """A run that stopped before its rows has passed no limit."""
    if limits:
        typer.echo("--fail-if could not be checked: there are no rows yet.", err=True)
        raise typer.Exit(BROKEN)
