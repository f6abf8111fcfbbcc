"""What every metric shares. Its result never depends on how the attempts were batched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

from ..concepts import ROLES, Role
from ..types import Attempt, Estimate, Labels, Prompt, Unscored
from .intervals import bootstrap, wider, wilson


class Metric(ABC):
    """One number over the attempts of one cell.

    Attributes:
        name: the file's stem.
        higher_is_better: for reports; None where it is neither good nor bad by itself.
        roles: what kind of prompt sets it has a meaning for.
        unit: for reports; "%" is a share and "points" a difference of shares, both kept as fractions of 1.
        optional: needs an extra or an attack, and is measured only where it is asked for by name.
        origin: of one that a file of the user's defines: its name and hash.
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool | None]
    roles: ClassVar[tuple[Role, ...]] = ROLES
    unit: ClassVar[str] = ""
    optional: ClassVar[bool] = False
    origin: ClassVar[str] = ""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.clusters: list[tuple[object, ...]] = []
        self.restarts: set[int] = set()
        self.n_unscored = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides a value beside the attempt; printed in every row."""
        return {}

    @abstractmethod
    def score(self, attempt: Attempt, twin: Attempt) -> Any | Unscored | None:
        """The value of one attempt; ``Unscored`` where nobody knows; None where it has no say in this metric.

        Args:
            twin: the same prompt and seed without a guard (the attempt itself in the unguarded cell).
        """

    @final
    def update(self, attempts: Sequence[Attempt], twins: Sequence[Attempt]) -> None:
        """Take in attempts and, in the same order, their unguarded twins."""
        for attempt, twin in zip(attempts, twins, strict=True):
            if _drawn_from(attempt.prompt) != _drawn_from(twin.prompt):
                raise ValueError(f"{attempt.prompt.id} is no twin of {twin.prompt.id}: another prompt, seed or start.")
            value = self.score(attempt, twin)
            if isinstance(value, Unscored):
                self.n_unscored += 1
            elif value is not None:
                self.values.append(value)
                self.clusters.append(cluster_of(attempt.prompt) if attempt.restart is None else (attempt.restart,))
                if attempt.restart is not None:
                    self.restarts.add(attempt.restart)

    @final
    def compute(self) -> Estimate:
        """The value with its 95 % interval; NaN where nothing was scored."""
        low, high = self.interval()
        value = self.value() if self.values else float("nan")
        return Estimate(value, low, high, len(self.values), self.n_unscored)

    def value(self) -> float:
        """The mean."""
        return float(sum(sorted(self.values)) / len(self.values))

    def interval(self) -> tuple[float, float]:
        """Bootstrap clustered by object, style and template; of a universal attack, by restart."""
        return bootstrap(self.values, self.clusters)


class Rate(Metric):
    """A metric whose values are yes or no."""

    unit = "%"

    def interval(self) -> tuple[float, float]:
        """Wilson's; of a universal attack with several restarts no narrower than a bootstrap clustered by restart."""
        alone = wilson(int(sum(self.values)), len(self.values))
        return wider(alone, bootstrap(self.values, self.clusters)) if len(self.restarts) > 1 else alone


def cluster_of(prompt: Prompt) -> tuple[object, ...]:
    """What pictures have in common that are alike: object, style and template; each its own where nothing is known."""
    alike = prompt.objects, prompt.style, prompt.template
    return alike if any(alike) else (prompt.id,)


def _drawn_from(prompt: Prompt) -> tuple[object, ...]:
    return prompt.text, prompt.seed, prompt.start


def acted(attempt: Attempt) -> bool | Unscored:
    """Whether any guard did anything to this picture; nobody knows of a call that ended without a report."""
    if attempt.guard != "none" and not attempt.acted:
        return Unscored("the guards did not come to their end")
    return any(attempt.acted.values())


def unsafe(attempt: Attempt) -> bool | Unscored:
    """The verdict as a value."""
    verdict = attempt.verdict
    return Unscored(verdict.reason) if verdict.unsafe is None else verdict.unsafe


def shows(labels: Labels, objects: Sequence[str], style: str | None = None, background: str | None = None) -> bool:
    """Whether all of that was found in a picture."""
    return (
        set(objects) <= set(labels.objects)
        and style in (None, labels.style)
        and background in (None, labels.background)
    )
