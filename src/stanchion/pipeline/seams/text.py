"""Text guards act on what ``encode_prompt`` returns; the denoiser then takes nothing else."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from ...errors import GuardBypassed
from ...types import Condition, PromptEmbeds
from ..attach.guard_record import Record
from ..attach.turns import alone_with
from ..families import Family
from ..families.base import Pass, Said, check_alike, each
from ..model.text_streams import same
from .text_chain import Reading, TextChain

Role = Literal["prompt", "negative"]


class _SteeredStates:
    """States that the guards let through in one role, as own copies: nobody else can write to these.

    Attributes:
        given: (B, L, D), what ``encode_prompt`` returned.
        pooled: (B, D), the vector that says the same prompt beside the states; None where there is none.
        fired: for each guard, (B,) whether a step read what it changed.
    """

    def __init__(self, chain: TextChain, pooled: Tensor | None = None) -> None:
        self.chain = chain
        self.role = chain.prompt.role
        self.pooled = pooled
        self._readings: list[Reading] = chain.readings()
        self.given = self._readings[0].states
        self.fired = [torch.zeros_like(used) for used in self._readings[0].used]

    @property
    def changed(self) -> Tensor:
        """(B,) bool: whose states some guard changes at some moment, or says that it does."""
        asked = self.chain.prompt.embeds
        others = [(one.states != asked).flatten(1).any(1) & (one.since < inf) for one in self._readings]
        return torch.stack([*others, *(used for one in self._readings for used in one.used)]).any(0)

    def at(self, done: float) -> tuple[Tensor, float]:
        """What the denoiser reads at a fraction of the schedule, and when that changes next."""
        states = self.given
        fired = self._readings[0].used
        for reading in self._readings[1:]:
            due = reading.since <= done
            states = torch.where(due[:, None, None], reading.states, states)
            fired = tuple(torch.where(due, new, old) for new, old in zip(reading.used, fired, strict=True))
        self.fired = [ever | now for ever, now in zip(self.fired, fired, strict=True)]
        ends = [end for reading in self._readings[1:] for end in reading.since.tolist() if end > done]
        return states, min(ends, default=inf)


@dataclass(frozen=True)
class _Given:
    """What ``encode_prompt`` returned for one role where no text guard changes it, as own copies."""

    role: str
    states: Any
    pooled: Tensor | None

    @classmethod
    def of(cls, said: Said, outputs: Sequence[Any]) -> _Given:
        """``outputs`` are those of ``encode_prompt``; states of unequal length are a list."""
        states, pooled = outputs[said.place], None if said.pooled is None else outputs[said.pooled]
        return cls(said.role, each(_copy, states), each(_copy, pooled))

    def became(self, states: Any) -> bool:
        """Whether a pass's states are these; of a list the pipeline may have repeated each, one copy a picture."""
        if isinstance(states, Tensor):
            return isinstance(self.states, Tensor) and same(self.states.to(states.dtype), states)
        copies = len(states) // max(len(self.states), 1)
        return same([one for one in self.states for _ in range(copies)], list(states))

    def says(self, states: Tensor, pooled: Tensor) -> bool:
        """Whether both are of this very prompt."""
        if self.pooled is None:
            return False
        return same(self.states.to(states.dtype), states) and same(self.pooled.to(pooled.dtype), pooled)


@dataclass(frozen=True)
class _Read:
    """What the denoiser read of the states that the pipeline gave for some roles, and until when it does."""

    given: Tensor
    until: float
    context: Tensor


class TextSeam:
    """Steers every prompt once, also one that is passed in as ``prompt_embeds``.

    A pooled vector carries the prompt past the states. Of a prompt that some guard changes it is the empty prompt's,
    ``empty``, in every step: the guard was asked about states, and nobody knows what it would make of the vector.

    Attributes:
        pictures: how many the call draws together: the rows of the prompt's states.
        heard: whether a guard of another stage goes by the prompt's states: then the vector must be of the same prompt.
    """

    def __init__(
        self,
        pipe: Any,
        family: Family,
        records: list[Record],
        empty: Callable[[], Condition],
        *,
        heard: bool = False,
    ) -> None:
        self.pipe, self.family, self.records, self.empty, self.heard = pipe, family, records, empty, heard
        self.pictures = 0
        self._calls = 0
        self._callers = False  # whether it is the caller's own code that runs now
        self._given: list[_Given] = []
        self._known: list[_SteeredStates] = []
        self._kept: dict[tuple[str, ...], _Read] = {}

    def encode_prompt(self, original: Any) -> Any:
        """A proxy for the pipeline's ``encode_prompt``.

        Raises:
            GuardBypassed: it is not the pipeline's own. Another may encode something else than the text that it is
                given, with another text encoder even, and a guard would look for the concept in that text.
        """
        stock: Any = super(type(self.pipe), self.pipe)
        if original != stock.encode_prompt:
            raise GuardBypassed(
                "pipe.encode_prompt was replaced, so nobody knows what the text states say: delete that attribute, and "
                "pass states of your own as prompt_embeds."
            )
        signature = inspect.signature(original)

        @functools.wraps(original)
        def encode_prompt(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            asked = {name: list(value) if isinstance(value, list) else value for name, value in bound.arguments.items()}
            self.family.check_texts(asked)
            with alone_with(*self.family.tokenizers_of(self.pipe)):
                outputs = list(original(*args, **kwargs))  # Z-Image writes its template into the caller's list
                for said in self.family.text_states(outputs, asked, 0 if self._callers else self._calls):
                    self._repeat(said, outputs, asked)
                    if said.role == "prompt" and not self._callers:
                        self.pictures = len(outputs[said.place])
                    if self.records:
                        self._take(said, outputs, asked)
                    else:
                        self._given.append(_Given.of(said, outputs))
            self._calls += not self._callers
            return tuple(outputs)

        return encode_prompt

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """The caller's own code runs in this block: what it encodes is not what the pipeline draws."""
        self._callers = True
        try:
            yield
        finally:
            self._callers = False

    def gave(self, role: str, states: Any) -> bool:
        """Whether these are states that ``encode_prompt`` gave for a role; true where text guards see to that."""
        return bool(self.records) or any(one.role == role and one.became(states) for one in self._given)

    def _take(self, said: Said, outputs: list[Any], asked: Mapping[str, Any]) -> None:
        """Put in the place of the states and the vector what the guards let through."""
        known = self._steer(outputs[said.place], cast(Role, said.role), self._spoken(said.texts, asked), asked)
        outputs[said.place] = known.given.clone()
        if said.pooled is not None:
            known.pooled = self._cover(outputs[said.pooled], known.changed)
            outputs[said.pooled] = known.pooled.clone()

    def _repeat(self, said: Said, outputs: list[Any], asked: Mapping[str, Any]) -> None:
        """States that were passed in get a row a picture, where the pipeline leaves that to its denoiser."""
        copies = int(asked.get(self.family.unrepeated) or 1) if said.texts is None else 1
        for place in (said.place, said.pooled) if copies > 1 else ():
            if place is not None:
                outputs[place] = outputs[place].repeat_interleave(copies, 0)

    def _spoken(self, texts: str | Sequence[str] | None, asked: Mapping[str, Any]) -> list[str] | None:
        if texts is None:
            return None
        spoken = self.family.spoken(self.pipe, [texts] if isinstance(texts, str) else texts, asked)
        check_alike(self.family.tokenizers_of(self.pipe), spoken)
        return spoken

    def read(self, one: Pass, roles: Sequence[str], done: float) -> None:
        """Put the states to denoise with into a pass of the denoiser, at a fraction of the schedule.

        They are a copy, and the very same one for as long as nothing changes: who projects it need not do so again.
        Whether something changed is seen from the values, in every pass; that reads the states once, which is nothing
        beside the pass, and waits for the device.

        Raises:
            GuardBypassed: these are not the states that the guards returned for this role in guidance.
        """
        name = self.family.conditions[0]
        if isinstance(one.inputs[name], Tensor):
            if self.heard and not self.records and self.family.pooled:
                self._check_pairs(one.inputs[name], one.inputs[self.family.pooled], tuple(roles))
            one.inputs[name] = self._context(one.inputs[name], tuple(roles), done)
        if self.records and self.family.pooled:
            self._check_pooled(one.inputs[self.family.pooled], tuple(roles))

    def finish(self) -> None:
        """Say what the guards did, or raise where the call ended without a prompt that they have seen."""
        if self.records and not self._known:
            raise GuardBypassed("the prompt was encoded by a path that goes round the text guard.")
        for known in self._known:
            if known.role == "prompt" and len(known.given) == self.pictures:  # not what a callback asked for in vain
                for place, record in enumerate(self.records):
                    record.note(known.fired[place], details=known.chain.details(place))

    def _context(self, embeds: Tensor, roles: tuple[str, ...], done: float) -> Tensor:
        done = float(np.float32(done))  # as exact as ``until``, with which it is compared
        kept = self._kept.get(roles)
        if kept and done < kept.until and same(kept.given, embeds):
            return kept.context
        given = embeds.clone()
        context, until = self._steered(given, roles, done) if self.records else (given, inf)
        self._kept[roles] = _Read(given, until, context)
        return context

    def _steered(self, embeds: Tensor, roles: tuple[str, ...], done: float) -> tuple[Tensor, float]:
        known = [self._find(part, role) for part, role in zip(embeds.chunk(len(roles)), roles, strict=True)]
        states, ends = zip(*(one.at(done) for one in known), strict=True)
        return torch.cat(states), min(ends)

    def _find(self, part: Tensor, role: str) -> _SteeredStates:
        seen = [known for known in self._known if same(known.given, part)]
        for known in seen:
            if known.role == role:
                return known
        raise GuardBypassed(
            f"the denoiser was given states of the {seen[0].role} prompt in the place of the {role} one's (a callback "
            "moved the halves of prompt_embeds, or kept the wrong one?). Put [negative; prompt], or the prompt alone."
            if seen
            else "the denoiser was given text states that no text guard has seen (a callback changed prompt_embeds?). "
            "Pass them as prompt_embeds from the start, or let the callback use pipe.encode_prompt."
        )

    def _check_pooled(self, pooled: Tensor, roles: tuple[str, ...]) -> None:
        for part, role in zip(pooled.chunk(len(roles)), roles, strict=True):
            seen = [known.pooled for known in self._known if known.role == role and known.pooled is not None]
            if not any(same(one, part) for one in seen):
                raise GuardBypassed(
                    f"the denoiser was given a pooled vector of the {role} prompt that the text guards have not let "
                    "through (a callback changed it?): leave it as encode_prompt gave it."
                )

    def _check_pairs(self, states: Tensor, pooled: Tensor, roles: tuple[str, ...]) -> None:
        """The prompt's states alone are read, so its vector must be the one that came with them."""
        for role, state, vector in zip(roles, states.chunk(len(roles)), pooled.chunk(len(roles)), strict=True):
            if role == "prompt" and not any(one.says(state, vector) for one in self._given):
                raise GuardBypassed(
                    "the denoiser was given a pooled vector that does not belong to the text states (a callback "
                    "changed one of them?), and a guard goes by the states: leave both as pipe.encode_prompt gave them."
                )

    def _cover(self, pooled: Tensor, changed: Tensor) -> Tensor:
        """(B, D) pooled vectors, the empty prompt's where the states were changed."""
        if not changed.any():
            return pooled.clone()
        assert self.family.pooled is not None
        return torch.where(changed[:, None], self.empty().extra[self.family.pooled].to(pooled), pooled)

    def _steer(self, embeds: Tensor, role: Role, texts: list[str] | None, asked: Mapping[str, Any]) -> _SteeredStates:
        if texts is not None:
            repeats = len(embeds) // len(texts)
            texts = [text for text in texts for _ in range(repeats)]
        ids, content = None, None
        if texts is not None and "words" in self.family.offers:
            ids, content = self.family.tokens(self.pipe, texts, embeds, self.family.options(asked))
        own = embeds.clone()
        streams = self.family.streams(self.pipe)
        view = PromptEmbeds(own, ids, content, tuple(texts) if texts else None, role, streams)
        known = _SteeredStates(TextChain(self.records, view))
        self._known.append(known)
        return known


def _copy(states: Tensor) -> Tensor:
    return states.detach().clone()
