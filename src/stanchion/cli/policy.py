"""``stanchion policy``: what a server's policy says, and keys for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

policy = typer.Typer(no_args_is_help=True, help="Look at a server's policy, or make a key for one.")


@policy.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="A policy; the default one where none is given.")] = None,
) -> None:
    """Print FILE whole, with every default, or say what is wrong with it. Loads no model."""
    from .. import config
    from ..server.policy import load_policy

    typer.echo(config.dump(load_policy(file)), nl=False)


@policy.command()
def key(name: Annotated[str, typer.Argument(help="Who will have it; stands in the audit log.")]) -> None:
    """Make a key. It is printed once; the policy holds its hash only."""
    import hashlib
    import secrets

    made = secrets.token_urlsafe(32)
    typer.echo(f"the key, for {name}: {made}", err=True)
    typer.echo(f"- {{name: {name}, sha256: {hashlib.sha256(made.encode()).hexdigest()}, per_minute: 60}}")
