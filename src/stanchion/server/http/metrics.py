"""Numbers for Prometheus. No label holds anything that a client sent."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ..service import GuardedService

KNOWN = ("/v1/images/generations", "/v1/images/edits", "/v1/moderations", "/v1/models", "/v1/playground")
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)


class Metrics:
    """Of one service: a registry of its own, so that a process may hold several."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, service: GuardedService) -> None:
        self.registry = registry = CollectorRegistry()
        told: Any = {"registry": registry}
        self.responses = Counter("stanchion_responses", "HTTP responses.", ["path", "status"], **told)
        self.requests = Counter("stanchion_requests", "Requests for pictures that were taken.", ["outcome"], **told)
        self.pictures = Counter("stanchion_pictures", "Pictures handed out.", **told)
        self.findings = Counter(
            "stanchion_findings",
            "What guards found.",
            ["stage", "concept", "action"],
            **told,
        )
        self.seconds = Histogram("stanchion_request_seconds", "From asking to answer.", buckets=SECONDS, **told)
        Gauge("stanchion_waiting_pictures", "Pictures that wait.", **told).set_function(lambda: service.waiting)
        Gauge("stanchion_ready", "1 where it serves.", **told).set_function(lambda: float(not service.trouble))
        service.listeners.append(self.note)

    def note(self, line: Mapping[str, Any]) -> None:
        """A line of the audit log."""
        self.requests.labels(line["outcome"]).inc()
        self.pictures.inc(len(line["pictures"]))
        self.seconds.observe(line["seconds"])
        for picture in line["pictures"]:
            for found in picture["findings"]:
                self.findings.labels(found["stage"], found["concept"], found["action"]).inc()
        if "concept" in line:
            self.findings.labels(line["stage"], line["concept"], "refuse").inc()

    def page(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


class Counted:
    """ASGI middleware that counts responses."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                path = next((known for known in KNOWN if scope["path"].startswith(known)), "other")
                self.metrics.responses.labels(path, str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, counted if scope["type"] == "http" else send)
