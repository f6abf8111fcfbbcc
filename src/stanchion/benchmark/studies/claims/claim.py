"""What a claim is, what would show it, and whether the rows of a measurement do. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from .... import config
from ....errors import ConfigError
from ...results.row import Row


class Outcome(StrEnum):
    """Of a claim, or of one thing that would show it."""

    HELD = "held"
    IN_PART = "held in part"
    NOT_HELD = "not held"
    UNDECIDED = "undecided"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Selector:
    """Which row. None takes whatever stands there; but of variant and attack "default" and "direct"."""

    metric: str | None = None
    guard: str | None = None
    variant: str | None = None
    concept: str | None = None
    prompt_set: str | None = None
    attack: str | None = None
    adaptive: bool | None = None
    updates: int | None = None
    settings: dict[str, Any] | None = None

    def of(self, rows: Sequence[Row]) -> Row | None:
        """The one row that it selects; None where there is none.

        Raises:
            ConfigError: it selects several with different values.
        """
        found = [row for row in rows if self._fits(row)]
        if len({row.value for row in found}) > 1:
            raise ConfigError(f"claims: {len(found)} rows fit {self._said()}; say more.")
        return found[0] if found else None

    def over(self, other: Selector) -> Selector:
        """This one, with everything that it leaves open taken from ``other``."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(other, **{name: value for name, value in own.items() if value is not None})

    def _fits(self, row: Row) -> bool:
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        settings = own.pop("settings") or {}
        own |= {"variant": self.variant or "default", "attack": self.attack or "direct"}
        alike = all(value is None or getattr(row, name) == value for name, value in own.items())
        return alike and all(row.settings.get(name) == value for name, value in settings.items())

    def _said(self) -> dict[str, Any]:
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}


@dataclass(frozen=True)
class Shown:
    """One thing that would show a claim: a number within a bound, or on the right side of another number.

    Attributes:
        say: what it is, in words.
        row: whose number.
        concepts: it must hold for each of them; empty where the row says for which.
        at_most, at_least: the bound of the number itself.
        below, above: the number must lie on this side of that row's, which is this row but for what is said, with
            intervals that do not overlap; where they do it is undecided.
        within: how far it may lie on the wrong side of ``below`` or ``above`` for non-inferiority: then the bad end
            of its interval minus the other's value counts.
    """

    say: str
    row: Selector
    concepts: tuple[str, ...] = ()
    at_most: float | None = None
    at_least: float | None = None
    below: Selector | None = None
    above: Selector | None = None
    within: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("at_most", "at_least", "below", "above") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ConfigError(f"claims: {self.say!r} needs one of at_most, at_least, below, above; it has {given}.")


@dataclass(frozen=True)
class ClaimFinding:
    """One thing that would show a claim, measured for one concept."""

    shown: Shown
    concept: str
    row: Row | None
    other: Row | None
    outcome: Outcome


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper's abstract, in our words.

    Attributes:
        id: the paper's letter and a number.
        source: the paper.
        claim: what it says.
        reported: the paper's own figure, and on what it was measured.
        shown: what would show it here; all of it for "held", some of it for "held in part".
        reason: why it does not hold here, if known; printed only where it does not.
    """

    id: str
    source: str
    claim: str
    reported: str
    shown: tuple[Shown, ...]
    reason: str = ""


@dataclass(frozen=True)
class _ClaimsFile:
    claims: tuple[Claim, ...]


FILE = Path(__file__).with_name("claims.yaml")


def load_claims(path: Path = FILE) -> tuple[Claim, ...]:
    """Every claim of the four papers."""
    return config.load(_ClaimsFile, path).claims


def findings(claim: Claim, rows: Sequence[Row]) -> list[ClaimFinding]:
    """What the rows say of each thing that would show the claim."""
    return [
        _find(shown, replace(shown.row, concept=concept) if concept else shown.row, rows)
        for shown in claim.shown
        for concept in (shown.concepts or (shown.row.concept or "",))
    ]


def outcome(found: Sequence[ClaimFinding]) -> Outcome:
    """Of the whole claim. What was not measured does not count for it, and nothing measured is nothing shown."""
    seen = [one.outcome for one in found]
    if all(one is Outcome.NOT_MEASURED for one in seen):
        return Outcome.NOT_MEASURED
    if all(one is Outcome.HELD for one in seen):
        return Outcome.HELD
    if Outcome.HELD in seen:
        return Outcome.IN_PART
    return Outcome.NOT_HELD if Outcome.NOT_HELD in seen else Outcome.UNDECIDED


def _find(shown: Shown, selector: Selector, rows: Sequence[Row]) -> ClaimFinding:
    row, limit = selector.of(rows), shown.below or shown.above
    other = limit.over(selector).of(rows) if limit else None
    known = row is not None and row.value is not None and (limit is None or (other and other.value is not None))
    verdict = _judge(shown, row, other) if known and row else Outcome.NOT_MEASURED
    return ClaimFinding(shown, selector.concept or (row.concept if row else ""), row, other, verdict)


def _judge(shown: Shown, row: Row, other: Row | None) -> Outcome:
    value, low, high = _numbers(row)
    if shown.at_most is not None:
        return Outcome.HELD if value <= shown.at_most else Outcome.NOT_HELD
    if shown.at_least is not None:
        return Outcome.HELD if value >= shown.at_least else Outcome.NOT_HELD
    assert other is not None
    sign = 1 if shown.below else -1
    theirs = sorted(sign * number for number in _numbers(other)[1:])
    ours = sorted((sign * low, sign * high))
    gap = sign * (value - (other.value or 0.0))
    if shown.within is not None:
        return Outcome.HELD if ours[1] - sign * (other.value or 0.0) <= shown.within else Outcome.NOT_HELD
    if gap >= 0:
        return Outcome.NOT_HELD
    return Outcome.HELD if ours[1] < theirs[0] else Outcome.UNDECIDED


def _numbers(row: Row) -> tuple[float, float, float]:
    """Value and interval; a number without one is taken as exact."""
    value = row.value or 0.0
    return value, value if row.low is None else row.low, value if row.high is None else row.high
