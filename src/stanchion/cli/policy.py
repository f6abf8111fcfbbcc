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
    line = _line_of(name, hashlib.sha256(made.encode()).hexdigest())
    typer.echo(f"the key, for {name}: {made}", err=True)
    typer.echo(line)


def _line_of(name: str, sha256: str) -> str:
    """A policy's line for a key, from which YAML reads that very name: in quotes where it must be.

    Raises:
        ConfigError: the name is empty, or no text that a file can hold.
    """
    import yaml

    from ..errors import ConfigError
    from ..files.documents import parse_yaml

    if not name.strip():
        raise ConfigError(f"policy key {name!r}: the name is empty; say who will have the key, as in 'school'.")
    quoted = yaml.safe_dump(name, default_style='"', allow_unicode=True, width=float("inf")).strip()
    for written in (name, quoted):
        line = f"- {{name: {written}, sha256: {sha256}, per_minute: 60}}"
        try:
            if parse_yaml(line, "the line") == [{"name": name, "sha256": sha256, "per_minute": 60}]:
                return line
        except ConfigError:
            continue
    raise ConfigError(f"policy key {name!r}: that is no Unicode text; give another name.")
