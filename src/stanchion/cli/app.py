"""The application: its commands, and how errors end. Nothing here may load torch: ``--help`` has to be quick."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .attack import attack
from .bench import bench
from .check import check
from .compare import compare
from .demo import demo
from .endings import CODES, ending
from .export import export
from .generate import generate
from .judge import judge
from .list import list_
from .policy import policy
from .report import report
from .serve import serve
from .study import study
from .train import train


class Commands(TyperGroup):
    """Every command ends as ``endings`` says."""

    def invoke(self, ctx: Any) -> Any:
        with ending(ctx):
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=CODES,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # --help does without

        typer.echo(version("stanchion"))
        raise typer.Exit


@app.callback()
def stanchion(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Guards for diffusers pipelines: unwanted concepts are not drawn, and measurements show it."""


app.command()(generate)
app.command("list")(list_)
app.command()(train)
app.command()(judge)
app.command()(bench)
app.command()(study)
app.command()(report)
app.command()(compare)
app.command()(attack)
app.command()(check)
app.command()(export)
app.command()(demo)
app.command()(serve)
app.add_typer(policy, name="policy")
