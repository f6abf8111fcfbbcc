"""A Ray cluster that a command joins, and leaves again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

LOCAL = "local"

Ray = Annotated[
    str | None,
    typer.Option("--ray", help="On a Ray cluster: its address, or `local` for one on this machine."),
]


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Join a cluster; one that is started for that ends with it.

    Raises:
        ConfigError: ray is not installed, or the cluster can't be joined.
    """
    from ..errors import ConfigError

    try:
        import ray
    except ImportError as error:
        raise ConfigError("ray is not installed; pip install 'stanchion[ray]'.") from error
    here = {"include_dashboard": False} if address == LOCAL else {"address": address}
    try:
        ray.init(**here, logging_level="warning")
    except Exception as error:  # what Ray raises has no class of its own
        raise ConfigError(f"--ray {address}: {type(error).__name__}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()
