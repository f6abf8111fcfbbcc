"""Services for the tests: on the tiny pipeline with real guards, or with a studio that fails as it is told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import uvicorn
from openai import OpenAI

import tiny
from stanchion.server.http.app import create_app
from stanchion.server.http.door import connection
from stanchion.server.policy import Limits, Policy, Rule
from stanchion.server.requests import Ask
from stanchion.server.service import GuardedService
from stanchion.server.studio import Studio

SAFE = {"picture_check": {"judge": "always_safe"}}
UNSAFE = {"picture_check": {"judge": "always_unsafe"}}


def policy(*rules: Rule, **values: Any) -> Policy:
    """A policy for the tiny pipeline; without rules its picture check finds nothing."""
    limits = replace(Limits(sides=(16, 64), sent_side=64, steps=8, queue=16, wait_ms=0), **values.pop("limits", {}))
    return Policy(concepts=rules or (Rule("weapons", ("picture_check",), SAFE),), steps=2, limits=limits, **values)


def finding(when: Any, settings: Any = UNSAFE) -> Policy:
    """A policy whose picture check finds weapons everywhere."""
    return policy(Rule("weapons", ("picture_check",), settings, when))


def words(when: Any = "refuse") -> Rule:
    """A rule whose guard reads prompts: trained on the tiny pipeline."""
    return Rule("weapons", (str(tiny._trained("steerdiff")),), when=when)


def eyes(when: Any = "steer", action: str = "refuse") -> Rule:
    """A rule whose picture monitor, of the tiny pipeline, takes every step of any picture for a weapon."""
    folder = str(tiny._trained("monitor"))
    settings = {"look_from": 0.0, "threshold": 1e-9, "release": 0.0, "hits": 1, "action": action}
    return Rule("weapons", (folder,), {folder: settings}, when)


class Gated(Studio):
    """Draws only while its gate is open, fails while ``error`` says so, and remembers its batches and its threads."""

    def __init__(self, policy: Policy, error: Exception | None = None) -> None:
        super().__init__(policy, tiny.pipeline())
        self.gate, self.error = threading.Event(), error
        self.gate.set()
        self.entered = threading.Event()
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()

    def draw(self, shots):
        self.batches.append([shot.ask.prompt for shot in shots])
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.gate.wait(20)
        if self.error and any("fails" in shot.ask.prompt for shot in shots):
            raise self.error
        return super().draw(shots)


def service(policy: Policy, **options: Any) -> GuardedService:
    """A running service."""
    return GuardedService(policy, Gated(policy, **options))


def ask(prompt: str = "a photo of a cat", **values: Any) -> Ask:
    """A request for tiny pictures."""
    return Ask(prompt, **{"width": 16, "height": 16, "seed": 0, "steps": 2, **values})


@cache
def picture(seed: int = 0) -> Any:
    """What the bare tiny pipeline draws."""
    return tiny.draw(tiny.pipeline(), steps=2, seed=seed, guidance_scale=4.0, output_type="pil")[0]


def until(condition: Callable[[], Any]) -> None:
    """Wait for what another thread does."""
    for _ in range(4000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never came about")


@contextmanager
def listening(serving: GuardedService, **more: Any) -> Iterator[str]:
    """The service on a free port of the loopback, as ``stanchion serve`` has it; yields its address."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        options = connection.listening(serving.policy.limits) | more
        server = uvicorn.Server(uvicorn.Config(create_app(serving), log_level="critical", **options))
        thread = threading.Thread(target=server.run, args=([port],))
        thread.start()
        until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{port.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def client(serving: GuardedService, **options: Any) -> Iterator[OpenAI]:
    """The stock client of a service on the loopback."""
    with listening(serving) as address:
        options = {"api_key": "none", "max_retries": 0, **options}
        with OpenAI(base_url=f"{address}/v1", **options) as made:
            yield made
