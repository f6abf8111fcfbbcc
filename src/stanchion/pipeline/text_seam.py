"""Text guards act on what ``encode_prompt`` returns; the denoiser then takes nothing else."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
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


class TextSeam:
    """Steers every prompt once, also one that is passed in as ``prompt_embeds``."""

    def __init__(self, pipe: Any, records: list[Record]) -> None:
        self.pipe = pipe
        self.records = records
        self._known: list[_Known] = []

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
        return torch.cat([self._checked(half, done) for half in embeds.chunk(halves)])

    def finish(self) -> None:
        """Raise where the call ended without a prompt that the text guards have seen."""
        if self.records and not self._known:
            raise GuardBypassed("the prompt was encoded by a path that goes round the text guard.")

    def _checked(self, half: Tensor, done: float) -> Tensor:
        for known in self._known:
            if torch.equal(known.steered[-len(half) :], half):
                holds = (done < known.until[-len(half) :])[:, None, None]
                return torch.where(holds, half, known.original[-len(half) :])
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
        steered, until = embeds, torch.zeros(len(embeds), device=embeds.device)
        for record in self.records:
            view = PromptEmbeds(steered, ids, content, tuple(texts) if texts else None, role)
            with record.blame():
                result = record.guard.steer(view, record.state)
            record.check("the steered prompt", result.embeds, embeds.shape)
            if role == "prompt":
                record.note(result.acted, details=result.details)
            steered = result.embeds.to(embeds.dtype)
            until = torch.maximum(until, torch.as_tensor(result.until, device=until.device))
        self._known.append(_Known(steered, embeds, until))
        return steered
