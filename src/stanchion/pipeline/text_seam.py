"""Text guards act on what ``encode_prompt`` returns; the denoiser then takes nothing else."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import GuardBypassed
from ..types import PromptEmbeds
from .encoding import token_ids
from .record import Record


@dataclass(frozen=True)
class _Known:
    """States that the guards let through: after steering, before it, and until when (B,) the steered ones hold."""

    steered: Tensor
    original: Tensor
    until: Tensor

    def at(self, half: Tensor, done: float) -> Tensor:
        """The steered ``half`` or the original one, by row, at a fraction of the schedule."""
        holds = (done < self.until[-len(half) :])[:, None, None]
        return torch.where(holds, half, self.original[-len(half) :])


class TextSeam:
    """Steers every prompt once, also one that is passed in as ``prompt_embeds``."""

    def __init__(self, pipe: Any, records: list[Record]) -> None:
        self.pipe = pipe
        self.records = records
        self._known: list[_Known] = []
        self._kept: tuple[Tensor, int, float, Tensor] | None = None  # the last pass: states, version, until, context

    def encode_prompt(self, original: Any) -> Any:
        """A stand-in for the pipeline's ``encode_prompt``."""
        if not self.records:
            return original
        signature = inspect.signature(original)

        @functools.wraps(original)
        def encode_prompt(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
            prompt, negative = original(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            asked = bound.arguments
            prompt = self._steer(prompt, "prompt", asked["prompt"])
            if negative is not None and asked["do_classifier_free_guidance"]:
                text = None if asked["negative_prompt_embeds"] is not None else asked["negative_prompt"] or ""
                negative = self._steer(negative, "negative", text)
            return prompt, negative

        return encode_prompt

    def context(self, embeds: Tensor, halves: int, done: float) -> Tensor:
        """The states to denoise with, (halves * B, L, D), at a fraction of the schedule.

        Raises:
            GuardBypassed: these are not the states that the guards returned.
        """
        if not self.records:
            return embeds
        done = torch.tensor(done, dtype=torch.float32).item()  # as exact as ``until``, with which it is compared
        version = -1 if embeds.is_inference() else embeds._version
        if self._kept and self._kept[0] is embeds and self._kept[1] == version >= 0 and done < self._kept[2]:
            return self._kept[3]  # the very tensor, too: who projects it need not do so again
        known = [self._find(half) for half in embeds.chunk(halves)]
        context = torch.cat([one.at(half, done) for one, half in zip(known, embeds.chunk(halves), strict=True)])
        ends = [end for one in known for end in one.until.tolist() if end > done]
        self._kept = (embeds, version, min(ends, default=inf), context)
        return context

    def finish(self) -> None:
        """Raise where the call ended without a prompt that the text guards have seen."""
        if self.records and not self._known:
            raise GuardBypassed("the prompt was encoded by a path that goes round the text guard.")

    def _find(self, half: Tensor) -> _Known:
        for known in self._known:
            if torch.equal(known.steered[-len(half) :], half):
                return known
        raise GuardBypassed(
            "the denoiser was given text states that no text guard has seen (a callback changed prompt_embeds?). "
            "Pass them as prompt_embeds from the start, or let the callback use pipe.encode_prompt."
        )

    def _steer(self, embeds: Tensor, role: Literal["prompt", "negative"], text: str | list[str] | None) -> Tensor:
        texts = None if text is None else [text] if isinstance(text, str) else list(text)
        if texts is not None:
            repeats = len(embeds) // len(texts)
            texts = [text for text in texts for _ in range(repeats)]
        ids, content = (None, None) if texts is None else token_ids(self.pipe, texts, embeds)
        view = PromptEmbeds(embeds, ids, content, tuple(texts) if texts else None, role)
        steered, until = steered_by(self.records, view)
        self._known.append(_Known(steered, embeds, until))
        return steered


def steered_by(records: Sequence[Record], prompt: PromptEmbeds) -> tuple[Tensor, Tensor]:
    """(B, L, D): the states through every text guard, and (B,) until which share of the schedule they hold."""
    states, until = prompt.embeds, torch.zeros(len(prompt.embeds), device=prompt.embeds.device)
    for record in records:
        with record.blame():
            result = record.guard.steer(replace(prompt, embeds=states), record.state)
        record.check("the steered prompt", result.embeds, states.shape)
        if prompt.role == "prompt":
            record.note(result.acted, details=result.details)
        states = result.embeds.to(states.dtype)
        until = torch.maximum(until, torch.as_tensor(result.until, device=until.device))
    return states, until
