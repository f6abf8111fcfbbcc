"""TraSCE (arXiv 2412.07658): a modified negative prompt, and a localised loss that moves x_t.

With e, p, c the empty prompt, the prompt and the concept:

    eps = eps_e + s (eps_p - eps_c)                                          modified negative prompt
    L   = -a exp(-d / sigma)           kernel "code", as released            d = ||eps_p - eps_c||, per picture
    L   = -a exp(-d^2 / (2 sigma^2))   kernel "paper"
    x_t <- x_t - b grad L                                                    the predictions are not made anew

The loss pulls p and c *together*, so that the first line falls back to the empty prompt. A negative prompt of the
caller's own stays what it is: then eps is the pipeline's guided prediction minus s (eps_c - eps_e).

Two forms. ``faithful`` is that, on every prompt. ``fast``, which is what is loaded, leaves the loss out, acts where a
trigger finds the prompt near the concept (``guards/triggers.py``), and of a style does not fall back to the empty
prompt but to a, the style's anchor ("in flat style"):

    eps = eps_e + s (eps_p - eps_c + eps_a - eps_e)                          matched anchor, ours

Where the prompt is one of the concept's phrases over and over, c is that phrase as often: the first line falls back
only where p and c are the same. That is not the paper's either, and every other prompt has the concept's text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from ...concepts import Concept
from ...config import Natural, NotNegative, Positive, Range, checked
from ...errors import ConfigError
from ...pipeline.seams.prediction import guided, unsteered
from ...pipeline.straight_through import straight_through
from ...types import Call, Condition, Flagged, Guided, Step
from ..base import TrajectoryGuard, across
from ..sayings import Sayings
from ..triggers import NoiseScore, TextScore, Trigger, When, anchors_of, either, reads_prompt, tripped
from ._localised_loss import LocalisedLoss

PRESETS = {  # a, b, sigma of the kernel "code"
    "nudity": (1.5, 1.0, 2.0),
    "violence": (1.5, 1.0, 1.0),
    "style": (1.0, 1.0, 0.25),
    "object": (1.0, 1.0, 1.0),
}
TEXT_TRIGGER = ("streams",)  # what the trigger "text" needs of a pipeline
FITTED_TO = ("start_token",)  # and what its threshold was fitted to, CLIP
ROUNDING = 1e-9  # a step of b w(d) below this is lost in rounding to float32
PRESET_OF_KIND = {"unsafe": "violence", "style": "style", "object": "object"}


@checked
@dataclass(frozen=True)
class TraSCESettings:
    """Settings of TraSCE.

    Attributes:
        form: "fast" or "faithful"; decides ``localized`` and ``when`` where these are not set.
        preset: published values of loss_scale, step_size and sigma; "auto" goes by the concept's kind.
        loss_scale: a; None takes the preset's.
        step_size: b; None takes the preset's.
        sigma: width of the loss, for 16384 latent entries; None takes the preset's.
        kernel: "code" or "paper".
        localized: False leaves the loss out: the modified negative prompt only. None: in the form "faithful".
        lazy_tol: the gradient is skipped where its factor b w(d) is below; 0 is faithful: then it is skipped only
            where float32 would lose it (1e-9).
        when: "always", or "flagged": the concept's prediction is skipped where the prompt is far from the concept;
            "monitor": until the guard ``monitor`` beside it has seen the concept; or "flagged_or_monitor". "auto" is
            "flagged" in the form "fast" on pipelines whose text states are CLIP's (for the trigger "text", whose
            threshold was fitted to these), else "always".
        trigger: what says so: "text" compares text states, "noise" the predictions of the first steps.
        threshold: score in [-1, 1] from which on a prompt is flagged: -1 is an anchor, 1 the concept; None takes
            the trigger's own, 0.4 for "text" and 0.05 for "noise".
        looks: in how many first steps the trigger "noise" looks.
        anchored: whether the concept's first anchor phrase is put in its place. None: in the form "fast", for a style
            that has one. Of objects it is no help: their anchor is drawn beside what is kept.
    """

    form: Literal["fast", "faithful"] = "fast"
    preset: Literal["auto", "nudity", "violence", "style", "object"] = "auto"
    loss_scale: NotNegative | None = None
    step_size: NotNegative | None = None
    sigma: Positive | None = None
    kernel: Literal["code", "paper"] = "code"
    localized: bool | None = None
    lazy_tol: NotNegative = 0.0
    when: When | Literal["auto"] = "auto"
    trigger: Literal["text", "noise"] = "text"
    threshold: Annotated[float, Range(-1, 1)] | None = None
    looks: Natural = 3
    anchored: bool | None = None


@dataclass
class State:
    """One call: how the concept can be said, when to act, what to draw in its place, and what was found so far."""

    sayings: Sayings
    trigger: Trigger | None
    anchor: Condition | None = None
    call: Call | None = None  # of a guard that waits for a monitor
    heard: Tensor | None = None  # the prompt in which the concept was looked for
    concept: Condition | None = None  # as that prompt says it
    expect_shift: bool = True  # whether the loss mattered in the last pass


class TraSCE(TrajectoryGuard):
    """The method is in the module's docstring, settings in ``TraSCESettings``, the cost in docs/guards/trasce.md."""

    name = "trasce"
    Settings = TraSCESettings
    settings: TraSCESettings
    wishes = ("repetition",)

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        chosen = self.settings
        self.localized = chosen.form == "faithful" if chosen.localized is None else chosen.localized
        if reads_prompt(chosen.when) and chosen.trigger == "text":
            self.needs = TEXT_TRIGGER
        usual = chosen.form == "fast" and self.concept.kind == "style"
        asked = usual if chosen.anchored is None else chosen.anchored
        self.anchor = anchors_of(self.concept)[0] if asked else ""

    @classmethod
    def check_fit(cls, concept: Concept, settings: Any) -> None:
        """Also that there is an anchor to draw, where one is asked for."""
        if settings.anchored and not anchors_of(concept)[0]:
            raise ConfigError(f"trasce: anchored is set, and {concept.name!r} has no anchor phrase; give it some.")

    def begin(self, call: Call) -> State:
        """Encode the concept's text and phrases, once and repeated, and with a trigger its anchor phrases."""
        trigger = self._trigger(call) if self._asks_trigger(call.offers) else None
        anchor = call.encode([self.anchor]) if self.anchor else None
        return State(Sayings.of(call, self.concept), trigger, anchor, call if self.asks_monitor else None)

    def reads_prompt(self, offers: Sequence[str]) -> bool:
        """Where the trigger "text" decides."""
        return self.settings.trigger == "text" and self._asks_trigger(offers)

    def _asks_trigger(self, offers: Sequence[str]) -> bool:
        """As is set, and by itself only where the trigger's threshold was fitted to the texts of such a pipeline."""
        chosen = self.settings
        if chosen.when != "auto":
            return reads_prompt(chosen.when)
        return chosen.form == "fast" and (chosen.trigger == "noise" or set(FITTED_TO) <= set(offers))

    def _trigger(self, call: Call) -> Trigger:
        chosen = self.settings
        text = chosen.trigger == "text"
        score = TextScore(call, self.concept) if text else NoiseScore(call, self.concept)
        threshold = score.threshold if chosen.threshold is None else chosen.threshold
        return Trigger(score, threshold, 1 if text else chosen.looks)

    def on_step(self, step: Step, state: State) -> Guided:
        """One batch of predictions; a gradient through two of them where the loss can matter."""
        flagged = self._flagged(step, state)
        near, scores = flagged.acted, {"trigger": flagged.scores} if state.trigger or state.call else {}
        soft = flagged.scores.requires_grad  # someone differentiates through the trigger
        if not (near.any() or soft):
            return Guided(unsteered(step), step.latents, near, scores)
        beside = [condition for condition in (state.anchor, step.negative) if condition is not None]
        conditions = [step.empty, step.prompt, _concept(step, state), *beside]
        predictions, latents, distance = self._predict(step, state, conditions, near)
        e, p, c, *rest = predictions
        a, scale = e if state.anchor is None else rest[0], step.guidance_scale
        stock = guided(step, rest[-1] if step.negative else e, p)
        steered = stock - scale * (c - a) if beside else e + scale * (p - c)
        noise = torch.where(across(near, steered), steered, stock)
        if soft:
            noise = straight_through(noise, flagged.scores, steered - stock)
        return Guided(noise, latents, near, {**scores, "distance": distance, "strength": self.loss.strength(distance)})

    def _flagged(self, step: Step, state: State) -> Flagged:
        """Which of the step's pictures it acts on."""
        found = [state.trigger.at(step)] if state.trigger else []
        if state.call is not None:
            found.append(tripped(state.call, self.concept, step.latents))
        return either(found) if found else Flagged(_everyone(step), _everyone(step).float())

    @property
    def loss(self) -> LocalisedLoss:
        """The loss with what is set, else the preset's values.

        The paper's sigma is sqrt(sigma_code / 2): the published settings fit sigma_code = 2 sigma^2.
        """
        chosen = self.settings
        a, b, sigma = PRESETS[PRESET_OF_KIND[self.concept.kind] if chosen.preset == "auto" else chosen.preset]
        if chosen.kernel == "paper":
            sigma = math.sqrt(sigma / 2)
        return LocalisedLoss(
            a if chosen.loss_scale is None else chosen.loss_scale,
            b if chosen.step_size is None else chosen.step_size,
            sigma if chosen.sigma is None else chosen.sigma,
            chosen.kernel,
        )

    def _predict(
        self, step: Step, state: State, conditions: list[Condition], near: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """Predictions at x_t, x_t after the loss has moved it, and the distance of prompt and concept, (B,)."""
        shift: Tensor | None = None
        if self.localized and state.expect_shift:
            latents, predictions = _with_graph(step, conditions)
            shift = self.loss.shift(step, latents, *predictions[1:3])
        else:
            predictions = step.predict(step.latents, *conditions)
        distance = self.loss.distance(step, *predictions[1:3])
        if not self.localized:
            return predictions, step.latents, distance
        matters = near & (self.loss.strength(distance) >= max(self.settings.lazy_tol, ROUNDING))
        state.expect_shift = bool(matters.any())
        if not state.expect_shift:
            return predictions, step.latents, distance
        if shift is None:
            shift = self._shift_of(step, conditions[2], matters)
        moved = step.latents - shift * across(matters, shift)
        return predictions, moved.to(step.latents.dtype), distance

    def _shift_of(self, step: Step, concept: Condition, rows: Tensor) -> Tensor:
        """The shift of some pictures, (B, …), by predictions of their own; 0 for the others."""
        chosen = rows.nonzero().flatten()
        latents = _to_differentiate(step.latents[chosen])
        with torch.enable_grad():
            p, c = step.predict(latents, step.prompt, concept, rows=chosen)
        shift = torch.zeros_like(step.latents, dtype=torch.float32)
        shift[chosen] = self.loss.shift(step, latents, p, c)
        return shift


def _concept(step: Step, state: State) -> Condition:
    """The concept as the step's prompts say it; looked for anew where a callback changed them."""
    if not state.sayings.heard:
        return state.sayings.text
    if state.concept is None or state.heard is None or not torch.equal(state.heard, step.prompt.embeds):
        state.heard, state.concept = step.prompt.embeds, state.sayings.heard_in(step.prompt)
    return state.concept


def _everyone(step: Step) -> Tensor:
    """(B,) true: every picture of the step."""
    return torch.ones(len(step.latents), dtype=torch.bool, device=step.latents.device)


def _to_differentiate(latents: Tensor) -> Tensor:
    """x_t as a leaf, unless someone else differentiates through it too."""
    return latents if latents.requires_grad else latents.detach().requires_grad_(True)


def _with_graph(step: Step, conditions: list[Condition]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """x_t as a leaf, and predictions of (empty, prompt, concept, ...), of which prompt and concept have a graph.

    A single picture's come in one batch, for a call of its own costs more than the part of the backward pass that
    goes through the empty prompt in vain. With more pictures that part is what costs.
    """
    latents = _to_differentiate(step.latents)
    if len(latents) == 1:
        with torch.enable_grad():
            return latents, step.predict(latents, *conditions)
    empty, prompt, concept, *others = conditions
    e, *rest = step.predict(step.latents, empty, *others)
    with torch.enable_grad():
        p, c = step.predict(latents, prompt, concept)
    return latents, (e, p, c, *rest)
