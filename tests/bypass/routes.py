"""A way round a guard: what somebody does, with which guards it is tried, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from closeness import SPREAD
from stanchion import GuardBypassed, UnsupportedPipeline

STAGES = ("text", "attention", "trajectory", "decoder", "output", "weights")
RUN_TIME = STAGES[:3]
ROUNDING = 10 * SPREAD  # the least that a guard here changes is ten times that, most change 0.1 and more


@dataclass(frozen=True)
class Guarded:
    """A picture comes out on which the guard acted.

    Attributes:
        as_ever: how far it may be from the picture that the guard makes of the prompt alone; None where what is done
            changes the picture itself.
    """

    as_ever: float | None = None

    def __str__(self) -> str:
        return "guarded" if self.as_ever is None else "guarded, same picture"


@dataclass(frozen=True)
class Raised:
    """No picture comes out."""

    error: type[Exception] | tuple[type[Exception], ...]
    match: str = ""

    def fits(self, error: Exception) -> bool:
        return isinstance(error, self.error) and re.search(self.match, str(error)) is not None

    def __str__(self) -> str:
        errors = self.error if isinstance(self.error, tuple) else (self.error,)
        return f"raises {' or '.join(f'`{error.__name__}`' for error in errors)}"


@dataclass(frozen=True)
class OutOfScope:
    """The stock picture comes out, and the page says why nothing can be done about it.

    Attributes:
        said: whether the guard says of that picture that it did nothing.
    """

    why: str
    said: bool = False

    def __str__(self) -> str:
        return f"**not held**: {self.why}"


Outcome = Guarded | Raised | OutOfScope
GUARDED, SAME = Guarded(), Guarded(as_ever=ROUNDING)


def bypassed(match: str) -> Raised:
    """``GuardBypassed`` with this in its message."""
    return Raised(GuardBypassed, match)


def refused(match: str) -> Raised:
    """``UnsupportedPipeline`` with this in its message."""
    return Raised(UnsupportedPipeline, match)


Go = Callable[[Any], Any]  # takes a trial
Change = Callable[[Any], Any]  # takes a pipeline


@dataclass(frozen=True)
class Route:
    """One way.

    Attributes:
        name: of the function that goes it.
        way: what is done, in a few words.
        go: does it, and returns the picture (or whatever the module gives that was run).
        outcome: how it ends.
        but: how it ends with some guards, by name.
        guards: which it is tried with.
        attached: whether the guard is on before; otherwise ``go`` puts it on.
        shared: whether the pipeline is left as it was, so that others may use it.
        on: the pipeline's class, where it is not the tiny Stable Diffusion 1.x.
    """

    name: str
    way: str
    go: Go
    outcome: Outcome
    but: Mapping[str, Outcome] = field(default_factory=dict)
    guards: tuple[str, ...] = STAGES
    attached: bool = True
    shared: bool = False
    on: str = ""

    def ends(self, guard: str) -> Outcome:
        return self.but.get(guard, self.outcome)


class Routes:
    """The routes of one kind, in their order; ``options`` hold for each that does not say otherwise."""

    def __init__(self, title: str, **options: Any) -> None:
        self.title, self.options = title, options
        self.all: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self.all)

    def route(self, way: str, outcome: Outcome, **options: Any) -> Callable[[Go], Go]:
        """Add what is decorated; ``options`` are those of ``Route``."""

        def add(go: Go) -> Go:
            self.add(go.__name__, way, go, outcome, **options)
            return go

        return add

    def change(self, way: str, outcome: Outcome, **options: Any) -> Callable[[Change], Change]:
        """Add a route that does what is decorated to the pipeline, and draws."""

        def add(change: Change) -> Change:
            def go(trial: Any) -> Any:
                change(trial.pipe)
                return trial.draw()

            self.add(change.__name__, way, go, outcome, **options)
            return change

        return add

    def add(self, name: str, way: str, go: Go, outcome: Outcome, **options: Any) -> None:
        """Add a route."""
        self.all.append(Route(name, way, go, outcome, **{**self.options, **options}))

    def tried(self) -> pytest.MarkDecorator:
        """Every route, for a test that takes one."""
        return pytest.mark.parametrize("route", self.all, ids=[route.name for route in self])
