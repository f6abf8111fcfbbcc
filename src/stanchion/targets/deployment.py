"""A pipeline as it is deployed, guards and all: it draws, counts, and hands attackers their target."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import groupby
from typing import Any, Literal, overload

import torch
from torch import Tensor

from .. import content_policy
from ..errors import ConfigError
from ..pipeline.attach.reports import Report
from ..pipeline.families import family_of
from ..pipeline.generation import acted_by, each_alone, generate, outcome
from ..pipeline.loading import check_steps
from ..pipeline.model.guarded_prediction import GuardedPrediction
from ..pipeline.model.text_encoder import TextEncoder
from ..pipeline.noise.exploring_scheduler import exploring
from ..pipeline.noise.flow import Flow
from ..types import Access, Adversarial, Budget, Condition, Drawn, LatentStart
from .guarded_model import TARGETS
from .meter import Meter
from .protocols import BlackBox, OpenEncoder, WhiteBox

STOCK = LatentStart()


class Deployment:
    """A pipeline object with the guards that are attached to it when it is used, and how it is run.

    It is the operator's side: an attacker gets what ``target`` gives.

    Args:
        pipe: a pipeline of a supported family, guarded or not.
        base: an unguarded pipeline object of its own on the same model, which a white-box attacker has; None where
            nobody attacks with that much access.
        steps, guidance_scale: how pictures are drawn.

    Raises:
        UnsupportedPipeline: no seam knows the pipeline.
        ConfigError: the base is guarded, or shares modules with the pipeline.
    """

    def __init__(self, pipe: Any, base: Any = None, *, steps: int = 20, guidance_scale: float = 4.0) -> None:
        if not getattr(type(pipe), "_stanchion", None):
            family_of(pipe)
        check_steps(pipe, steps)
        self.pipe, self.steps, self.guidance_scale = pipe, steps, guidance_scale
        if base is not None and (getattr(type(base), "_stanchion", None) or _denoiser(base) is _denoiser(pipe)):
            raise ConfigError("the base must be another, unguarded pipeline object: load the model a second time.")
        self.base = None if base is None else Deployment(base, steps=steps, guidance_scale=guidance_scale)

        self.text = TextEncoder(pipe)
        self._prediction: tuple[Any, GuardedPrediction] | None = None

    @property
    def guards(self) -> tuple[Any, ...]:
        """What guards the pipeline now; nothing where it is unguarded."""
        return self._attached.guards if self._attached else ()

    @property
    def name(self) -> str:
        """The guards' names joined by ``+``, or "none"."""
        return "+".join(guard.name for guard in self.guards) or "none"

    @property
    def prediction(self) -> GuardedPrediction:
        """The guarded denoiser and decoder, with gradients, under the guards that are attached now."""
        if self._attached:
            self._attached.assert_active()
        if self._prediction is None or self._prediction[0] is not self._attached:
            made = GuardedPrediction(self.pipe, self.guards, self.steps, self.guidance_scale)
            self._prediction = (self._attached, made)
        return self._prediction[1]

    @property
    def _attached(self) -> Any:
        return getattr(type(self.pipe), "_stanchion", None)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Words of letters that are one token each, sorted."""
        entries = self.pipe.tokenizer.get_vocab()
        words = sorted(entry[:-4] for entry in entries if re.fullmatch("[a-z]{2,}</w>", entry))
        ids = self.pipe.tokenizer(words, add_special_tokens=False).input_ids
        return tuple(word for word, tokens in zip(words, ids, strict=True) if len(tokens) == 1)

    def meter(self, budget: Budget) -> Meter:
        """Nothing spent of a budget."""
        return Meter(budget)

    @overload
    def target(self, access: Literal[Access.WHITE_BOX], meter: Meter | None = None) -> WhiteBox: ...
    @overload
    def target(self, access: Literal[Access.TEXT_ENCODER], meter: Meter | None = None) -> OpenEncoder: ...
    @overload
    def target(self, access: Access, meter: Meter | None = None) -> BlackBox: ...

    def target(self, access: Access, meter: Meter | None = None) -> BlackBox:
        """What an attacker with that access has; what it asks for is counted by the meter.

        Raises:
            ConfigError: a white-box attacker of a guarded pipeline needs the base model, and there is none.
        """
        if access is Access.WHITE_BOX and self.base is None and self.guards:
            raise ConfigError("a white-box attack needs the unguarded model too: give the deployment its base.")
        return TARGETS[access](self, meter or Meter(Budget(None)))

    def draw(self, sent: Sequence[Adversarial], seeds: Sequence[int]) -> list[Drawn]:
        """A picture of each; neighbours that are sampled alike come in one batch.

        A guard that fails closed, or that can't take what was sent, refuses that picture; the others are drawn.

        Raises:
            PromptRefused: what the content policy never draws.
        """
        content_policy.check(one.text for one in sent if one.text is not None)
        drawn: list[Drawn] = []
        for _, places in groupby(range(len(sent)), key=lambda place: _kind(sent[place])):
            drawn += each_alone(self._batch, [(sent[place], seeds[place]) for place in places])
        return drawn

    @torch.no_grad()
    def latents(self, texts: Sequence[str], seeds: Sequence[int], step: int) -> Tensor:
        """(B, C, H, W): x_t before a step of the schedule; where ``step`` is their number, the finished latents."""
        content_policy.check(texts)
        whole = step == self.steps and Flow.fits(self.pipe.scheduler)  # then its own scheduler will do
        with self._scheduler(LatentStart(), slice(None) if whole else slice(0, step)):
            return self._call({"prompt": list(texts)}, seeds, output_type="latent")[0].images

    def passes_with_gradient(self, text: str, seed: int) -> int:
        """How many passes of the denoiser the guards take gradients of while one picture is drawn."""
        seen: list[bool] = []
        handle = _denoiser(self.pipe).register_forward_pre_hook(lambda *_: seen.append(torch.is_grad_enabled()))
        try:
            self.draw([Adversarial(text=text)], [seed])
        finally:
            handle.remove()
        return sum(seen)

    def _batch(self, alike: Sequence[tuple[Adversarial, int]]) -> list[Drawn]:
        sent, seeds = [one for one, _ in alike], [seed for _, seed in alike]
        begun = time.perf_counter()
        start = sent[0].start or STOCK
        options: dict[str, Any] = {"eta": start.eta} if start.eta or not Flow.fits(self.pipe.scheduler) else {}
        if start.latents is not None:
            given = [one.start.latents for one in sent if one.start is not None and one.start.latents is not None]
            options["latents"] = torch.stack(given).detach()
        with torch.no_grad(), self._scheduler(start, slice(start.start_step, None)):
            output, report = self._call(self._conditions(sent), seeds, output_type="pil", **options)
        share = (time.perf_counter() - begun) / len(sent)
        return outcome(output, acted_by(report, len(sent)), seconds=share)

    def _conditions(self, sent: Sequence[Adversarial]) -> dict[str, Any]:
        """The pipeline's argument: texts, or text states."""
        if sent[0].text is not None:
            return {"prompt": [one.text for one in sent]}
        states = torch.stack([self._states(one) for one in sent]).detach()
        family: Any = family_of(self.pipe)
        if not family.pooled:
            return family.given(Condition(states))
        family.check_training()  # of others nobody knows which vector goes with states
        return family.given(Condition(states, family.beside(self.pipe, states)))

    def _states(self, one: Adversarial) -> Tensor:
        if one.embeds is not None:
            return one.embeds
        if one.token_embeds is None:
            raise ConfigError("nothing to draw: give text, token_embeds or embeds.")
        return self.text.encode(None, one.token_embeds[None])[0]

    def _call(self, conditions: dict[str, Any], seeds: Sequence[int], **options: Any) -> tuple[Any, Report | None]:
        more = {**conditions, **options}
        return generate(self.pipe, seeds, steps=self.steps, guidance_scale=self.guidance_scale, **more)

    def _scheduler(self, start: LatentStart, window: slice) -> AbstractContextManager[None]:
        """The pipeline's own sampling, or DDIM's (a flow's in part) where an attacker chose how to sample."""
        if start.eta or start.noise_scale != 1.0 or window not in (slice(None), slice(0, None)):
            return exploring(self.pipe, noise_scale=start.noise_scale, eta=start.eta, window=window)
        return nullcontext()


def _kind(one: Adversarial) -> tuple[Any, ...]:
    """What must be the same within a batch."""
    start = one.start or STOCK
    return one.text is None, start.latents is None, start.eta, start.noise_scale, start.start_step


def _denoiser(pipe: Any) -> Any:
    return family_of(pipe).denoisers_of(pipe)[0]
