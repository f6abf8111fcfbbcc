"""Monitors act at ``scheduler.step`` too, behind the guard that steers: they see what would be used, may replace it.

What one has tripped on is said to the call (``Call.seen``); guards of its concept that wait for it find it there in
the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...errors import GuardRefused
from ...types import Flagged, Guided, Step
from ..model.encoding import Encoding
from .guard_record import Record


class WatchSeam:
    """The monitors of one call, one behind the other."""

    def __init__(self, records: Sequence[Record], call: Encoding) -> None:
        self.records, self.call = tuple(records), call
        self._last: dict[Record, tuple[Step, Guided, Callable[[Guided], Tensor]]] = {}

    def over(self, step: Step, guided: Guided, clean: Callable[[Guided], Tensor]) -> Guided:
        """What to use in the place of ``guided``; ``clean`` gives x_0 as a prediction has it, as a map."""
        for record in self.records:
            self._last[record] = (step, guided, clean)
            with record.blame():
                due = record.guard.due(step, record.state)
                seen = record.guard.look(step, clean(guided), record.state) if due else None
            if seen is None:
                record.note(torch.zeros(len(step.latents), dtype=torch.bool, device=step.latents.device))
                continue
            check(record, seen, len(step.latents))
            with record.blame():
                flagged = settled(record, step, seen)
                guided = record.guard.answer(step, guided, flagged, record.state)
            record.check("the guided prediction", guided.noise, step.latents.shape)
            self._say(record.guard.concept.name, flagged)
            record.note(guided.acted, guided.scores)
        return guided

    @torch.no_grad()
    def finish(self) -> None:
        """Let monitors settle what they saw last, where the call ended before its schedule did: stopped, or cut short.

        Raises:
            GuardRefused: a picture that must not be made.
        """
        for record, (step, guided, clean) in self._last.items():
            if step.index < step.total - 1:
                last = replace(step, total=step.index + 1)
                with record.blame():
                    seen = record.guard.look(last, clean(guided), record.state)
                check(record, seen, len(step.latents))
                with record.blame():
                    settled(record, last, seen)

    def _say(self, concept: str, flagged: Flagged) -> None:
        """A new mapping where something changed, and only there: who reads it need not compare tensors."""
        known = self.call.seen.get(concept)
        if not torch.equal(flagged.acted, torch.zeros_like(flagged.acted) if known is None else known.acted):
            self.call.seen = {**self.call.seen, concept: flagged}


def settled(record: Record, step: Step, seen: Flagged) -> Flagged:
    """What it has tripped on; where it refuses, its record has this step, too."""
    try:
        flagged: Flagged = record.guard.settle(step, seen, record.state)
    except GuardRefused as found:
        record.note(seen.acted, {name: torch.tensor(values) for name, values in found.scores.items()})
        raise
    return flagged


def check(record: Record, seen: Flagged, count: int) -> None:
    """Refuse what is no answer for each of ``count`` pictures: nobody knows what they show.

    Raises:
        GuardFailed: a wrong shape, NaN or infinity.
    """
    record.check_shape("what it has seen", seen.acted, torch.Size([count]))
    record.check("its score", seen.scores, seen.acted.shape)
