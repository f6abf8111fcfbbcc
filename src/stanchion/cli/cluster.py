"""The option that names a Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer

Ray = Annotated[
    str | None,
    typer.Option("--ray", help="On a Ray cluster: its address, or `local` for one on this machine."),
]
