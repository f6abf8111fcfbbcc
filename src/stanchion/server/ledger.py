"""Who waits, for which pictures, and what came of it. Knows no thread: the service has a lock around it."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .. import content_policy
from ..errors import Busy, PromptRefused, Refused, ServiceUnavailable
from .policy import Limits
from .requests import Answer, Ask, Picture, Shot


@dataclass(eq=False)
class LedgerEntry:
    """A request on its way.

    Attributes:
        asked: when, on the monotonic clock.
        seconds: until when, from there on, it must be answered.
        left: when whoever asked stopped waiting, if they did.
        pictures: those that are there, by their place.
        outcome: the answer or the error, once there is one.
    """

    ask: Ask
    seconds: float
    left: float | None = None
    asked: float = field(default_factory=time.monotonic)
    future: Future[Answer] = field(default_factory=Future)
    pictures: dict[int, Picture] = field(default_factory=dict)
    outcome: Answer | Exception | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more is to be drawn for it."""
        return self.outcome is not None or self.future.cancelled()

    @property
    def gone(self) -> bool:
        """Whether whoever asked has left before the time was over."""
        return self.left is not None and self.left - self.asked < self.seconds

    def leave(self, future: Future[Answer]) -> None:
        """To be told when the future is done: who stops waiting because the time is over has not left."""
        if not future.cancelled():
            return
        self.left = time.monotonic()
        if not self.gone:
            self.outcome = ServiceUnavailable(f"it was not drawn within {self.seconds:g} s.")

    def end(self, error: Exception) -> None:
        """Without pictures."""
        self.outcome = self.outcome or error

    def add(self, shot: Shot, picture: Picture) -> None:
        """One more picture; the last one makes the answer."""
        self.pictures[shot.place] = picture
        if len(self.pictures) == self.ask.count and self.outcome is None:
            pictures = tuple(self.pictures[place] for place in range(self.ask.count))
            self.outcome = Answer(pictures, time.monotonic() - self.asked)


Place = tuple[LedgerEntry, Shot]


class Ledger:
    """The queue, in pictures.

    Attributes:
        entries: requests that were not answered yet.
        seconds_each: what a pixel's denoising step took lately; a picture has as many as it has pixels times steps.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entries: list[LedgerEntry] = []
        self.seconds_each = 0.0
        self._places: deque[Place] = deque()

    @property
    def waiting(self) -> int:
        """Pictures that somebody waits for and nobody draws yet."""
        return sum(not entry.over for entry, _ in self._places)

    @property
    def closing(self) -> bool:
        """Whether some request is over that was not answered."""
        return any(entry.over for entry in self.entries)

    def add(self, ask: Ask) -> LedgerEntry:
        """Line up.

        Raises:
            Busy: the queue is full.
        """
        waiting = self.waiting
        if waiting + ask.count > self.limits.queue:
            work = sum(shot.ask.work for entry, shot in self._places if not entry.over)
            seconds = max(1.0, work * self.seconds_each)
            raise Busy(f"{waiting} pictures wait already, and the queue holds {self.limits.queue}.", seconds)
        self.entries.append(entry := LedgerEntry(ask, self.limits.seconds))
        entry.future.add_done_callback(entry.leave)
        try:
            for text in (ask.prompt, ask.negative):
                content_policy.check([text])
        except PromptRefused as refusal:
            entry.end(refusal)
        else:
            self._places += [(entry, Shot(ask, place)) for place in range(ask.count)]
        return entry

    def patience(self) -> float:
        """Seconds for which the next batch may wait for others."""
        if self.closing or not self._places or self.waiting >= self.limits.batch:
            return 0.0
        return self._places[0][0].asked + self.limits.wait_ms / 1000 - time.monotonic()

    def batch(self) -> list[Place]:
        """What is drawn next: what is like the first that waits, in the order of asking."""
        self._end_late()
        left = [place for place in self._places if not place[0].over]
        alike = [place for place in left if place[1].ask.alike == left[0][1].ask.alike]
        taken = alike[: self.limits.batch]
        self._places = deque(place for place in left if place not in taken)
        return taken

    def note(self, place: Place, outcome: Picture | Exception | None) -> None:
        """What came of it; None has it tried again, before all others."""
        entry, shot = place
        if isinstance(outcome, Exception):
            entry.end(outcome)
        elif outcome is None:
            self._places.appendleft((entry, replace(shot, again=shot.again + 1)))
        else:
            entry.add(shot, outcome)

    def took(self, seconds: float, batch: Sequence[Place]) -> None:
        """A batch was drawn in so many."""
        each = seconds / sum(shot.ask.work for _, shot in batch)
        self.seconds_each += (0.2 if self.seconds_each else 1.0) * (each - self.seconds_each)

    def closed(self) -> list[LedgerEntry]:
        """The requests that are over, each given once."""
        over = [entry for entry in self.entries if entry.over]
        self.entries = [entry for entry in self.entries if entry not in over]
        return over

    def drop(self) -> list[LedgerEntry]:
        """Everybody who waits."""
        entries, self.entries = self.entries, []
        self._places.clear()
        return entries

    def _end_late(self) -> None:
        for entry, _ in self._places:
            if time.monotonic() - entry.asked > self.limits.seconds:
                entry.end(ServiceUnavailable(f"it was not drawn within {self.limits.seconds:g} s."))


def line_of(entry: LedgerEntry, prompts: bool) -> dict[str, Any]:
    """What the audit log and the metrics are told of a request; ``prompts`` adds their text."""
    ask, outcome = entry.ask, entry.outcome
    pictures = outcome.pictures if isinstance(outcome, Answer) else ()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "request": ask.id,
        "key": ask.key,
        "user": ask.user,
        "task": ask.task,
        "outcome": _name(entry),
        **_why(outcome),
        "seconds": round(time.monotonic() - entry.asked, 3),
        "size": [ask.width, ask.height],
        "steps": ask.steps,
        "guidance_scale": ask.guidance_scale,
        "seed": ask.seed,
        "count": ask.count,
        "pictures": [
            {"seed": one.seed, "sha256": _hash(one.image.tobytes()), "findings": _findings(one)} for one in pictures
        ],
        "prompt_sha256": _hash(ask.prompt.encode()),
        **({"prompt": ask.prompt, "negative": ask.negative} if prompts else {}),
        **ask.noted,
    }


def _why(outcome: Answer | Exception | None) -> dict[str, Any]:
    """The error's class: its text may repeat what was asked."""
    if not isinstance(outcome, Exception):
        return {}
    error = {"error": type(outcome).__name__}
    if not isinstance(outcome, Refused):
        return error
    return {**error, "stage": outcome.stage, "concept": outcome.concept, "scores": outcome.scores}


def _name(entry: LedgerEntry) -> str:
    if entry.gone:
        return "cancelled"
    if isinstance(entry.outcome, Refused | PromptRefused):
        return "refused"
    return "served" if isinstance(entry.outcome, Answer) else "failed"


def _findings(picture: Picture) -> Sequence[dict[str, Any]]:
    return [asdict(finding) for finding in picture.findings]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
