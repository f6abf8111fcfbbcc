"""What the playground is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...pipeline.attach.reports import GuardReport
from ..requests import Ask, Picture

if TYPE_CHECKING:
    from PIL import Image

    from ..policy import Rule

TASK = "playground"


@dataclass(frozen=True)
class GuardChoice:
    """A guard that may be chosen for a concept: its name there, and the policy's rule where it has one."""

    name: str
    guard: Any
    rule: Rule | None = None


@dataclass(frozen=True)
class Tryout(Ask):
    """One picture with the guards that were chosen.

    Attributes:
        choices: in stage order.
        unguarded: whether it is to be drawn without them as well.
    """

    choices: tuple[GuardChoice, ...] = ()
    unguarded: bool = False

    @property
    def task(self) -> str:
        """One of its own: no other pipeline draws it."""
        return TASK

    @property
    def alike(self) -> tuple[object, ...]:
        """Drawn alone: what it took is what it took."""
        return (TASK, self.id)

    @property
    def noted(self) -> Mapping[str, object]:
        """The guards of this very request, in the place of the policy's."""
        guards = [f"{choice.guard.name} {choice.guard.identity}" for choice in self.choices]
        return {"guards": guards, "unguarded": self.unguarded}


@dataclass(frozen=True)
class Mark:
    """Characters ``start`` to ``end`` of a prompt, which a guard took for the concept, and its score if it gave one."""

    guard: str
    start: int
    end: int
    score: float | None = None


@dataclass(frozen=True)
class Bare:
    """The picture without any guard; None where the model's own checker withheld it."""

    image: Image.Image | None
    seconds: float


@dataclass(frozen=True)
class Tried(Picture):
    """A picture, and the evidence of its own call.

    Attributes:
        reports: of each choice, in the same order.
        passes, total: denoiser passes, and timesteps of the schedule.
        seconds: of the guarded call, decoding and picture check included.
        withheld: why ``image`` is not the guarded picture: "refuse", "regenerate", "blank" or "blur" of the policy,
            "withhold" of the picture check itself; empty where it is.
        refused_by: the guard, and its concept, that let no picture be made; then the reports end there.
    """

    reports: tuple[GuardReport, ...] = ()
    passes: int = 0
    total: int = 0
    seconds: float = 0.0
    withheld: str = ""
    refused_by: tuple[str, str] | None = None
    marks: tuple[Mark, ...] = ()
    bare: Bare | None = None
