"""Every error that Stanchion raises on purpose.

    StanchionError
    ├── ConfigError            a setting, concept, artefact or spec that makes no sense
    │   ├── UnknownName        no guard, judge, attack … of that name (nearest names in the text)
    │   └── ArtefactError      a saved guard that is damaged, foreign or belongs to other weights
    ├── UnsupportedPipeline    a pipeline, scheduler or option that no seam knows
    ├── GuardError             the guard could not do its work; no image was made
    │   ├── GuardBypassed      the denoiser or decoder ran by a path that goes round the guard
    │   ├── GuardFailed        a guard raised, or returned NaN, infinity or a wrong shape
    │   │   └── GuardRefused   a guard found its concept, and lets no picture be made
    │   └── AlreadyAttached    the pipeline carries guards already
    ├── JudgeError             an image that a judge can't score (becomes UNSCORED in a record)
    ├── BudgetSpent            an attack asked for more than its budget allows
    ├── PromptRefused          a prompt that is never drawn, whatever is measured
    └── ServiceError           the service gave no picture
        ├── Refused            a guard found what the policy refuses
        ├── Busy               too much waits already; ask again later
        └── ServiceUnavailable the log, the drawing or the time failed

A guard fails closed: whoever catches a ``GuardError`` has no image in hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class StanchionError(Exception):
    """Base of all errors that Stanchion raises on purpose."""


class ConfigError(StanchionError, ValueError):
    """A setting, concept, artefact or spec that makes no sense."""


class UnknownName(ConfigError):
    """Nothing of that name is registered."""


class ArtefactError(ConfigError):
    """A saved guard that is damaged, foreign, or belongs to other weights."""


class UnsupportedPipeline(StanchionError):
    """A pipeline, scheduler or option that no seam knows; refused rather than guessed."""


class GuardError(StanchionError, RuntimeError):
    """A guard could not do its work, so no image was made."""


class GuardBypassed(GuardError):
    """The denoiser or decoder ran by a path that goes round the guard."""


class GuardFailed(GuardError):
    """A guard raised, or returned NaN, infinity, or a tensor of the wrong shape."""


class GuardRefused(GuardFailed):
    """A guard found its concept, and lets no picture be made: no fault, and found again by whoever tries again.

    Attributes:
        guard, stage, concept: who found what.
        place: of the picture in its batch.
        scores: the guard's by name, one a picture.
        report: a ``Report`` of what all guards did until then, where the call was an attached pipeline's.
    """

    report: Any = None

    def __init__(
        self,
        message: str,
        guard: str,
        stage: str,
        concept: str,
        place: int = 0,
        scores: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__(message)
        self.guard, self.stage, self.concept, self.place = guard, stage, concept, place
        self.scores = {name: tuple(values) for name, values in (scores or {}).items()}

    def __reduce__(self) -> tuple[Any, ...]:  # it is told from one process to another
        return type(self), (str(self), self.guard, self.stage, self.concept, self.place, self.scores)


class AlreadyAttached(GuardError):
    """The pipeline carries guards already; put several into one GuardStack."""


class JudgeError(StanchionError):
    """An image that a judge can't score."""


class BudgetSpent(StanchionError):
    """An attack asked for more than its budget allows."""


class PromptRefused(StanchionError):
    """A prompt that is never drawn, whatever is measured."""


class ServiceError(StanchionError):
    """The service gave no picture."""


class Refused(ServiceError):
    """A guard found what the policy refuses.

    Attributes:
        stage, concept: where it was found, and what.
        scores: the guard's.
    """

    def __init__(self, stage: str, concept: str, scores: Mapping[str, float] | None = None) -> None:
        super().__init__(f"the request was refused: {concept} was found at the stage {stage!r}.")
        self.stage, self.concept, self.scores = stage, concept, dict(scores or {})

    def __reduce__(self) -> tuple[Any, ...]:  # it is told from one process to another
        return type(self), (self.stage, self.concept, self.scores)


class Busy(ServiceError):
    """Too much waits already, or was asked for lately.

    Attributes:
        retry_after: seconds after which to ask again.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.retry_after)


class ServiceUnavailable(ServiceError):
    """The log, the drawing or the time failed, so there is no picture."""
