"""``stanchion serve``: a guarded image server."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cluster import Ray

if TYPE_CHECKING:
    from ..server.policy import Policy

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    model: Annotated[
        str | None, typer.Option(help="In the place of the policy's: `reference`, a folder, a Hub id.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="A YAML file; see `stanchion policy check`.")] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    record: Annotated[
        Path | None, typer.Option(help="A folder that `stanchion bench` filled; the playground lists its attempts.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8000,
    ray: Ray = None,
) -> None:
    """Serve OpenAI's images interface with guards that clients can't switch off.

    With --ray the policy's `replicas` draw, on the machines of a cluster; HTTP stays here.
    """
    from ..errors import ConfigError

    chosen = chosen_policy(policy, model, host, record, replicated=bool(ray))
    try:
        import uvicorn

        from ..server.http.app import create_app
        from ..server.http.door.connection import listening
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed; pip install 'stanchion[server]'.") from error
    if host not in LOOPBACK and not chosen.keys:
        typer.echo(f"stanchion: {host} can be reached by others, and the policy names no keys.", err=True)

    from ..pipeline.loading import without_progress_bars, without_texts_in_logs

    without_progress_bars()
    without_texts_in_logs()
    with _joined(ray):
        uvicorn.run(
            create_app(_service(chosen, replicated=bool(ray))),
            host=host,
            port=port,
            **listening(chosen.limits),
        )


def _joined(ray: str | None) -> AbstractContextManager[None]:
    """Within it the cluster is joined, if one is asked for."""
    if not ray:
        return nullcontext()
    from ..benchmark.run.executors.ray import cluster

    return cluster(ray)


def _service(policy: Policy, *, replicated: bool) -> Any:
    """Whoever is asked: one service here, or replicas elsewhere, which are asked in the same way."""
    if replicated:
        from ..server.replicas import ReplicatedService

        return ReplicatedService(policy)
    from ..server.service import GuardedService

    return GuardedService(policy)


def chosen_policy(
    file: Path | None, model: str | None, host: str, record: Path | None, *, replicated: bool = False
) -> Policy:
    """The file's policy, or the default one, which on one's own machine has a playground.

    Raises:
        ConfigError: the policy can't be read, has no playground that could list a record, or has one with replicas.
    """
    from ..errors import ConfigError
    from ..server.policy import PlaygroundSettings, load_policy

    policy = load_policy(file)
    policy = replace(policy, model=model) if model else policy
    if replicated and policy.playground.enabled:
        raise ConfigError("the playground draws in the process that serves; with --ray leave it out of the policy.")
    if (
        file is None and host in LOOPBACK and not replicated
    ):  # without guards it draws what the package brings, and no other model
        policy = replace(policy, playground=PlaygroundSettings(True, unguarded=policy.model == "reference"))
    return replace(policy, playground=replace(policy.playground, record=record)) if record else policy
