"""The service as replicas of one Ray Serve deployment, on one machine or many; whoever asks sees one service.

HTTP stays in the process that asks: keys, limits and errors are those of one server. A replica is a ``GuardedService``
with an audit file of its own, ``NAME.REPLICA.jsonl``; Ray starts more of them, and ends them, as the policy's
``replicas`` say, and starts one again that died or whose drawing hangs. A request is drawn by one replica, once: where
that one dies meanwhile, whoever waits is told so and may ask again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ConfigError, ServiceUnavailable, StanchionError
from .policy import Policy
from .requests import Answer, Ask
from .service import GuardedService, Listener

NAME = "stanchion"
LOOK_SECONDS = 1.0  # between two looks at whether any replica serves


class Replica:
    """A guarded service in a process of its own; what it raises on purpose it returns, beside the log's line."""

    def __init__(self, policy: Policy) -> None:
        from ray import serve

        if file := policy.audit.file:
            own = file.with_name(f"{file.stem}.{serve.get_replica_context().replica_id.unique_id}{file.suffix}")
            policy = replace(policy, audit=replace(policy.audit, file=own))
        self._lines: dict[str, Mapping[str, Any]] = {}
        self.service = GuardedService(policy, listeners=[self._keep])

    async def about(self) -> tuple[int, tuple[str, ...]]:
        """The model's own size, and its tasks."""
        return self.service.studio.size, self.service.studio.tasks

    async def submit(self, ask: Ask) -> tuple[Answer | StanchionError, Mapping[str, Any]]:
        """What a request came to; cancelled, it is not drawn."""
        self._lines[ask.id] = {}
        try:
            outcome = await _told(lambda: self.service.submit(ask))
        finally:
            line = self._lines.pop(ask.id)
        return outcome, line

    async def look(self, texts: Sequence[str], pictures: Sequence[Any]) -> tuple[Any, Mapping[str, Any]]:
        """What the guards say of texts and pictures."""
        return await _told(lambda: self.service.look(texts, pictures)), {}

    def check_health(self) -> None:
        """Ray asks now and then, and ends a replica that says no."""
        if self.service.trouble:
            raise RuntimeError(self.service.trouble)

    def __del__(self) -> None:
        if service := getattr(self, "service", None):
            service.stop()

    def _keep(self, line: Mapping[str, Any]) -> None:
        if line["request"] in self._lines:
            self._lines[line["request"]] = line


async def _told(ask: Any) -> Any:
    try:
        return await asyncio.wrap_future(ask())
    except StanchionError as error:
        return error


@dataclass(frozen=True)
class RemoteStudio:
    """What is known here of those who draw elsewhere."""

    size: int
    tasks: tuple[str, ...]


class ReplicatedService:
    """Asks replicas, as one asks a ``GuardedService``. Ray is running already (``ray.init``).

    Raises:
        StanchionError: no replica could be started.
    """

    def __init__(self, policy: Policy, listeners: Sequence[Listener] = ()) -> None:
        from ray import serve

        self.policy, self.listeners = policy, list(listeners)
        self._asking: dict[Future[Any], int] = {}
        self._threads = ThreadPoolExecutor(policy.limits.connections, "stanchion-asks")
        serve.start(proxy_location="Disabled")  # HTTP is ours
        try:
            self._replicas = serve.run(_deployment(policy), name=NAME, route_prefix=None)
            self.studio = RemoteStudio(*self._replicas.about.remote().result())
        except Exception as error:
            raise ConfigError(f"no replica could be started: {error}") from error
        self._trouble, self._over = "", threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def waiting(self) -> int:
        """Pictures that were asked for and are not there."""
        return sum(self._asking.values())

    @property
    def trouble(self) -> str:
        """Why nothing can be served; empty where it can."""
        return "the service is stopping." if self._over.is_set() else self._trouble

    def submit(self, ask: Ask) -> Future[Answer]:
        """Line up at a replica; see ``GuardedService.submit``. A full queue is told by the future here.

        Raises:
            ConfigError: the model has no pipeline that begins with a picture.
            ServiceUnavailable: nothing is served now.
        """
        if ask.task not in self.studio.tasks:
            raise ConfigError(f"{self.policy.model} has no pipeline that begins with a picture (task {ask.task!r}).")
        return self._ask("submit", ask.count, ask)

    def look(self, texts: Sequence[str] = (), pictures: Sequence[Any] = ()) -> Future[Any]:
        """What the guards say; see ``GuardedService.look``."""
        return self._ask("look", 0, texts, pictures)

    def stop(self) -> None:
        """Take nothing more; the replicas finish what they began."""
        from ray import serve

        self._over.set()
        self._threads.shutdown()
        serve.delete(NAME)

    def _ask(self, method: str, count: int, *values: Any) -> Future[Any]:
        if self.trouble:
            raise ServiceUnavailable(self.trouble)
        future: Future[Any] = Future()
        self._asking[future] = count
        future.add_done_callback(self._asking.pop)
        self._threads.submit(self._wait, future, method, values)
        return future

    def _wait(self, future: Future[Any], method: str, values: Sequence[Any]) -> None:
        """For one replica's answer, or until whoever asked has gone."""
        if future.cancelled():
            return
        try:
            response = getattr(self._replicas, method).remote(*values)
            future.add_done_callback(lambda done: response.cancel() if done.cancelled() else None)
            outcome, line = response.result()
        except Exception as error:  # whatever Ray says of one that is gone
            outcome, line = ServiceUnavailable(f"its replica was lost ({type(error).__name__}); ask again."), {}
        for tell in self.listeners if line else ():
            tell(line)
        if not future.set_running_or_notify_cancel():
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _watch(self) -> None:
        from ray import serve

        while not self._over.wait(LOOK_SECONDS):
            try:
                told = serve.status().applications.get(NAME)
            except Exception as error:  # its head is gone
                self._trouble = f"Ray does not answer ({type(error).__name__})."
                continue
            running = told.deployments[NAME].replica_states.get("RUNNING", 0) if told else 0
            self._trouble = "" if running else "no replica serves."


def _deployment(policy: Policy) -> Any:
    """The replicas, before they are started."""
    from ray import serve

    wanted, limits = policy.replicas, policy.limits
    scaling = {"min_replicas": wanted.least, "max_replicas": wanted.most, "target_ongoing_requests": wanted.busy}
    options = {
        "max_ongoing_requests": limits.connections,  # the queue is the service's own
        "graceful_shutdown_timeout_s": limits.seconds,
        "ray_actor_options": {"num_cpus": wanted.cpus, "num_gpus": wanted.gpus},
        "autoscaling_config": scaling,
    }
    return serve.deployment(Replica, name=NAME, **options).bind(policy)
