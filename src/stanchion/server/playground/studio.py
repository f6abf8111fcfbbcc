"""A studio with a bench beside it: a second copy of the model, on which a visitor's guards are put on and taken off.

What a visitor switches off is never off for anybody else: clients' pictures are drawn on the first copy.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from ...errors import GuardRefused, Refused
from ...files.pictures import black
from ...guards.stack import GuardStack
from ...pipeline.attach.attachment import Attachment
from ...pipeline.attach.reports import Report
from ...pipeline.generation import acted_by, outcome
from ...pipeline.loading import load_pipeline
from ...types import Drawn
from ..policy import Policy
from ..requests import GuardFinding, Picture, Shot
from ..studio import Studio, arguments_of, hidden, highest
from .choices import Choices, named
from .marks import marks
from .trial import TASK, Bare, GuardChoice, Tried, Tryout

HIDES = ("refuse", "regenerate", "withhold", "blank", "blur")  # the first that is found counts


class PlaygroundStudio(Studio):
    """Draws what clients ask for as any studio does, and what the playground asks for on a model of its own.

    Attributes:
        choices: which guards there are for each concept.
    """

    def __init__(self, policy: Policy, pipeline: Any = None) -> None:
        pipe = pipeline or load_pipeline(policy.model)
        self._bench = _copied(pipe)
        super().__init__(policy, pipe)
        own = named([(guard, self.rule_of(guard)) for guard in self.guards])
        self.choices = Choices(policy, own, self._bench)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Also that of the playground."""
        return (*super().tasks, TASK)

    def stop_drawing(self) -> None:
        """Also of the playground."""
        super().stop_drawing()
        self._bench._interrupt = True

    def draw(self, shots: Sequence[Shot]) -> list[Picture | Refused | None]:
        """As any studio; trials come one by one."""
        if shots[0].ask.task != TASK:
            return super().draw(shots)
        return [self._tried(shot) for shot in shots]

    def _tried(self, shot: Shot) -> Picture | Refused:
        trial = shot.ask
        assert isinstance(trial, Tryout)
        bare = self._bare(shot) if trial.unguarded else None
        with GuardStack(*(choice.guard for choice in trial.choices)).attach(self._bench) as attached:
            (given, report), seconds = _timed(lambda: _called(attached, arguments_of(self._bench, [shot])))
        refused = given if isinstance(given, GuardRefused) else None
        image = _none(trial) if refused else _only(given, report).image
        if image is None:
            return Refused("output", "safety_checker")
        findings = _findings(trial.choices, report)
        why = "refuse" if refused else _withheld(trial.choices, report)
        return Tried(
            hidden(image, "blur") if why == "blur" else black(image) if why else image,
            shot.seed,
            findings,
            reports=report.guards,
            passes=report.steps,
            total=report.total,
            seconds=seconds,
            withheld=why,
            refused_by=(refused.guard, refused.concept) if refused else None,
            marks=marks(self._bench, trial.prompt, report.guards),
            bare=bare,
        )

    def _bare(self, shot: Shot) -> Bare:
        output, seconds = _timed(lambda: self._bench(**arguments_of(self._bench, [shot])))
        return Bare(_only(output, None).image, seconds)


def studio_of(policy: Policy) -> Studio:
    """The one that a policy asks for."""
    return PlaygroundStudio(policy) if policy.playground.enabled else Studio(policy)


def _findings(choices: Sequence[GuardChoice], report: Report) -> tuple[GuardFinding, ...]:
    return tuple(
        GuardFinding(told.stage, told.guard, choice.guard.concept.name, _action(choice), highest(told, 0))
        for choice, told in zip(choices, report.guards, strict=True)
        if told.acted[0]
    )


def _action(choice: GuardChoice) -> str:
    """What follows where it acts: what its rule says, or else what it does by itself."""
    return choice.rule.when if choice.rule else getattr(choice.guard.settings, "action", "steer")


def _withheld(choices: Sequence[GuardChoice], report: Report) -> str:
    """Why the guarded picture is not handed out. A guard that hides what it finds has done so, whatever a rule says."""
    acted = [choice for choice, told in zip(choices, report.guards, strict=True) if told.acted[0]]
    actions = {_action(choice) for choice in acted} | {getattr(one.guard.settings, "action", "") for one in acted}
    return next((one for one in HIDES if one in actions), "")


def _called(attached: Attachment, arguments: dict[str, Any]) -> tuple[Any, Report]:
    """What the pipeline gave, or the refusal of a guard, and what all guards did until then."""
    try:
        return attached.call(**arguments)
    except GuardRefused as found:
        return found, found.report


def _none(trial: Tryout) -> Image.Image:
    """What stands where nothing was drawn."""
    return Image.new("RGB", (trial.width, trial.height))


def _only(output: Any, report: Report | None) -> Drawn:
    """The one picture of a call."""
    (drawn,) = outcome(output, acted_by(report, 1), seconds=0.0)
    return drawn


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    return call(), time.perf_counter() - begun


def _copied(pipe: Any) -> Any:
    """Another pipeline of the same class on copies of all its parts."""
    checked = pipe.config.get("requires_safety_checker")
    parts = {name: copy.deepcopy(part) for name, part in pipe.components.items()}
    made = type(pipe)(**parts, **({} if checked is None else {"requires_safety_checker": checked}))
    made.set_progress_bar_config(disable=True)
    return made
