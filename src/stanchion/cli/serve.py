"""``stanchion serve``: a guarded image server."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cluster import Ray, cluster

if TYPE_CHECKING:
    from ..server.policy import Policy


def serve(
    model: Annotated[
        str | None, typer.Option(help="In the place of the policy's: `reference`, a folder, a Hub id.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="A YAML file; see `stanchion policy check`.")] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8000,
    ray: Ray = None,
) -> None:
    """Serve OpenAI's images interface with guards that clients can't switch off.

    With --ray the policy's `replicas` draw, on the machines of a cluster; HTTP stays here.
    """
    from ..errors import ConfigError
    from ..server.policy import load_policy

    chosen = load_policy(policy)
    chosen = replace(chosen, model=model) if model else chosen
    try:
        import uvicorn

        from ..server.http.app import create_app
        from ..server.http.gate import impatient
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed; pip install 'stanchion[server]'.") from error
    if host not in ("127.0.0.1", "localhost", "::1") and not chosen.keys:
        typer.echo(f"stanchion: {host} can be reached by others, and the policy names no keys.", err=True)

    from ..pipeline.loading import without_progress_bars, without_texts_in_logs

    without_progress_bars()
    without_texts_in_logs()
    with cluster(ray) if ray else nullcontext():
        uvicorn.run(
            create_app(_service(chosen, replicated=bool(ray))),
            host=host,
            port=port,
            http=impatient(chosen.limits.body_seconds),
            limit_concurrency=chosen.limits.connections,
            timeout_graceful_shutdown=int(chosen.limits.seconds) + 1,
            access_log=False,
            server_header=False,
        )


def _service(policy: Policy, *, replicated: bool) -> Any:
    """Whoever is asked: one service here, or replicas elsewhere, which are asked in the same way."""
    if replicated:
        from ..server.replicas import ReplicatedService

        return ReplicatedService(policy)
    from ..server.service import GuardedService

    return GuardedService(policy)
