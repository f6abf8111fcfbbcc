"""The text guards of a call, one behind the other: what the denoiser reads of a prompt at each moment of the schedule.

A guard steers what the guards before it leave *at that moment*: one that has ended is not in the way of those behind
it, and one that has nothing to say does not keep another's states alive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import torch
from torch import Tensor

from ...types import PromptEmbeds, Steered
from ..attach.guard_record import Record
from ..straight_through import straight_through


@dataclass(frozen=True)
class Reading:
    """A prompt's states from a moment on.

    Attributes:
        states: (B, L, D).
        since: (B,) fractions of the schedule; inf where that row is never read.
        used: for each guard, (B,) whether its answer is in them and it says that it acted.
    """

    states: Tensor
    since: Tensor
    used: tuple[Tensor, ...]


@dataclass
class _Link:
    """One guard for one prompt. It is asked once for the same states, however often the schedule changes."""

    record: Record
    answers: list[tuple[Tensor, Steered, Tensor]] = field(default_factory=list)

    def ask(self, prompt: PromptEmbeds) -> tuple[Steered, Tensor]:
        """What the guard says to these states, and (B,) until when that holds."""
        for states, answer, until in self.answers:
            if states is prompt.embeds or torch.equal(states, prompt.embeds):
                return answer, until
        with self.record.blame():
            answer = self.record.guard.steer(prompt, self.record.state)
        self.record.check("the steered prompt", answer.embeds, prompt.embeds.shape)
        until = torch.as_tensor(answer.until, dtype=torch.float32, device=prompt.embeds.device)
        until = until.expand(len(prompt.embeds))
        self.answers.append((prompt.embeds, answer, until))
        return answer, until


class TextChain:
    """Every text guard on one prompt (its ``role`` says which half of guidance it feeds)."""

    def __init__(self, records: Sequence[Record], prompt: PromptEmbeds) -> None:
        self.prompt = prompt
        self._links = [_Link(record) for record in records]

    def at(self, done: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """The states at (B,) fractions of the schedule, (B,) when that changes next, and ``Reading.used``."""
        states, ends, used = self.prompt.embeds, torch.full_like(done, inf), []
        for link in self._links:
            answer, until = link.ask(replace(self.prompt, embeds=states))
            active = done < until.detach()
            steered = answer.embeds.to(states.dtype)
            read = torch.where(active[:, None, None], steered, states)
            states = straight_through(read, until, steered - states)
            ends = torch.where(active, torch.minimum(ends, until.detach()), ends)
            used.append(active & answer.acted.to(active.device).bool())
        return states, ends, tuple(used)

    def readings(self) -> list[Reading]:
        """The states from the schedule's begin to its end, in the order in which they are read."""
        done = torch.zeros(len(self.prompt.embeds), device=self.prompt.embeds.device)
        since = done
        found: list[Reading] = []
        while not found or bool((since < inf).any()):
            states, ends, used = self.at(done)
            found.append(Reading(states, since, used))
            since = torch.where((since < inf) & (ends < 1), ends, inf)
            done = torch.where(since < inf, since, done)
        return found

    def details(self, place: int) -> tuple[Mapping[str, Any], ...]:
        """What a guard says of each prompt: where it acted, or else when it was asked first."""
        first, *others = [answer for _, answer, _ in self._links[place].answers]
        said, acted = list(first.details), first.acted.tolist()
        for other in others if said else ():
            for row in (row for row, late in enumerate(other.acted.tolist()) if late and not acted[row]):
                said[row], acted[row] = other.details[row], True
        return tuple(said)
