"""SAFREE (arXiv 2410.12761): words that carry the concept are projected out of it, in the first steps.

Phrases and prompts are compared by their pooled states, those at the end-of-text token. With C the phrases' span, I the
span of the prompt's leave-one-out states (token j replaced by a neutral one), and m_j the state where token j is
replaced wherever the prompt has it:

    d_j  = |(1 - P_C) m_j|                              far from the concept without token j: token j brought it
    token j is a trigger where d_j >= (1 + alpha) times the mean of the other tokens' d's
    e'   = (1 - P_C) P_I e                              at triggers; every other position stays what it is
    e~   = (1 - P_C) P_I e                              at every position, to see how much is at stake:
    beta = 1 - mean of cos(e~, e)                       over start, tokens and end
    n    = round(T_up sigmoid(2 k (10 beta - m)))       steps 0 to n read e', the others e

The reference preset replaces every state after the first trigger too: it has read the trigger. That is not the paper's.
Nor is what becomes of repetition. The paper leaves out one place of many, and no m_j lacks a word that is said twice.
And a prompt that says nothing but a phrase of the concept, twice or more, has nothing to keep: e' is the empty prompt
there, and beta 1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from ...config import Filled, NotNegative, Range, Real, checked
from ...errors import ConfigError, UnsupportedPipeline
from ...pipeline.straight_through import straight_through
from ...types import Call, PromptEmbeds, Steered
from ..base import TextGuard
from ..sayings import Sayings

SCHEDULE = 50  # the steps in which the published T_up and n are counted


@dataclass(frozen=True)
class Masking:
    """What is replaced, and when: scope, share of the width, T_up, k and m."""

    scope: Literal["triggers", "after"]
    rank: float
    steps: int
    slope: float
    midpoint: float


PRESETS = {  # for a style, and for everything else
    "reference": (Masking("after", 0.02, 50, 2.5, 3.6), Masking("after", 0.02, 50, 2.5, 2.0)),
    "published": (Masking("triggers", 0.04, 10, 3.5, 5.5), Masking("triggers", 0.04, 10, 2.5, 5.333)),
}


@checked
@dataclass(frozen=True)
class SAFREESettings:
    """Settings of SAFREE.

    Attributes:
        preset: "published": as released, for CLIP ViT-L/14's states; "reference": fitted to the reference model.
        scope: "triggers" replaces their states only, as published; "after" every later one as well, end and padding
            included, for these have read the trigger too. None takes the preset's, like the four that follow.
        rank: directions of the concept at most, as a share of the states' width, in (0, 1].
        steps: T_up, in steps of a schedule of 50; scaled with the schedule.
        slope, midpoint: k and m of the filter; they depend on the text encoder.
        filter: the self-validating filter; without it states are replaced in every step.
        alpha: how much farther than the others' mean a trigger's distance must be, as a share; 0 or more.
        neutral: the word, a single token, that takes a token's place.
    """

    preset: Literal["reference", "published"] = "reference"
    scope: Literal["triggers", "after"] | None = None
    rank: Annotated[float, Range(0, 1, above=True)] | None = None
    steps: Annotated[int, Range(0, SCHEDULE)] | None = None
    slope: Real | None = None
    midpoint: Real | None = None
    filter: bool = True
    alpha: NotNegative = 0.01
    neutral: Annotated[str, Filled()] = "a"


@dataclass(frozen=True)
class State:
    """One call: itself, P_C (D, D), the neutral token's id, how the concept can be said, the empty prompt (L, D)."""

    call: Call
    concept: Tensor
    neutral: Tensor
    sayings: Sayings
    empty: Tensor


class SAFREE(TextGuard):
    """SAFREE (arXiv 2410.12761) with its self-validating filter, without latent re-attention.

    Equations are in the module's docstring. No negative prompt is added.
    """

    name = "safree"
    Settings = SAFREESettings
    settings: SAFREESettings
    needs = ("words", "token_ids", "start_token")

    @property
    def chosen(self) -> Masking:
        """The preset's values for the concept's kind, with what is set in their place."""
        values = {field.name: getattr(self.settings, field.name) for field in fields(Masking)}
        style, thing = PRESETS[self.settings.preset]
        preset = style if self.concept.kind == "style" else thing
        return replace(preset, **{key: value for key, value in values.items() if value is not None})

    def begin(self, call: Call) -> State:
        """Encode the concept's target phrases.

        Raises:
            ConfigError: the neutral word is not a single token.
        """
        neutral = call.read([self.settings.neutral])
        assert neutral.token_ids is not None and neutral.content is not None
        ids = neutral.token_ids[neutral.content]
        if len(ids) != 1:
            raise ConfigError(f"safree: neutral {self.settings.neutral!r} is {len(ids)} tokens; give a word of one.")
        phrases = call.read(self.concept.targets)
        assert phrases.content is not None
        pooled = at_end(phrases.embeds, phrases.content)
        rank = max(1, round(self.chosen.rank * pooled.shape[1]))
        empty = call.encode([""]).embeds[0].float()
        return State(call, projector(pooled, rank), ids, Sayings.of(call, self.concept), empty)

    def steer(self, embeds: PromptEmbeds, state: State) -> Steered:
        """Replace trigger tokens of the prompt; the unconditional half of guidance stays what it is.

        With gradients on, the step until which they are replaced has the filter's. Which tokens these are has none:
        they are found in other prompts' states.

        Raises:
            UnsupportedPipeline: the caller passed the prompt as embeddings, so that its tokens can't be left out.
        """
        count = len(embeds.embeds)
        if embeds.role == "negative":
            return Steered(embeds.embeds, torch.zeros(count, dtype=torch.bool, device=embeds.embeds.device))
        if embeds.token_ids is None or embeds.content is None:
            raise UnsupportedPipeline(
                "safree leaves the prompt's words out one by one, which can't be done with prompt_embeds: give the "
                "prompt as text, or use another guard."
            )
        known: dict[tuple[int, ...], tuple[Tensor, Tensor, Tensor]] = {}  # copies of a prompt are looked at once
        rows = []
        for place, (states, ids) in enumerate(zip(embeds.embeds, embeds.token_ids, strict=True)):
            content = embeds.content[place]
            key = (place,) if states.requires_grad else tuple(ids.tolist())
            if key not in known:
                known[key] = self._row(states.float(), ids, content, state)
            rows.append(known[key])
        steered, triggers, betas = zip(*rows, strict=True)
        shares = torch.stack(betas)
        found = shares.tolist()
        until = torch.tensor([self._until(beta) for beta in found], device=embeds.embeds.device)
        until = straight_through(until, _risk(shares, self.chosen).float(), torch.ones_like(until))
        details = tuple(self._detail(*row, state) for row in zip(embeds.token_ids, triggers, found, strict=True))
        acted = torch.stack([trigger.any() for trigger in triggers])
        return Steered(torch.stack(steered).to(embeds.embeds.dtype), acted, until, details)

    def _row(self, states: Tensor, ids: Tensor, content: Tensor, state: State) -> tuple[Tensor, Tensor, Tensor]:
        """One prompt: its new states (L, D), where they are new (L,), and beta."""
        places = content.nonzero().flatten()
        if len(places) == 0:
            return states, content, states.new_zeros(())
        if state.sayings.repeated(states[None]).any():
            return state.empty, content, states.new_ones(())
        equal, alone = same_token(ids[places], state.neutral)
        pooled = self._without(alone, ids, content, state)
        wordless = pooled if torch.equal(equal, alone) else self._without(equal, ids, content, state)
        triggers = torch.zeros_like(content)
        triggers[places] = trigger_tokens(wordless, equal, state.concept, self.settings.alpha)
        filtered = states @ projector(pooled, len(pooled)) @ (torch.eye(len(state.concept)).to(states) - state.concept)
        seen = slice(0, int(places[-1]) + 2)
        beta = 1 - torch.cosine_similarity(filtered[seen], states[seen], dim=1).mean()
        rows = triggers if self.chosen.scope == "triggers" else triggers.cumsum(0) > 0
        return torch.where(rows[:, None], filtered, states), triggers, beta

    def _without(self, out: Tensor, ids: Tensor, content: Tensor, state: State) -> Tensor:
        """(n, D) pooled states of a prompt's (L,) ids, each with those of its own tokens replaced that (n, n) says."""
        left_out = ids.repeat(len(out), 1)
        left_out[:, content] = torch.where(out, state.neutral, left_out[:, content])
        return at_end(state.call.read_ids(left_out), content[None])

    def _until(self, beta: float) -> float:
        """The fraction of the schedule up to which e' is read: between steps n and n + 1 of 50."""
        return (active_steps(beta, self.chosen) + 0.5) / SCHEDULE if self.settings.filter else 1.0

    def _detail(self, ids: Tensor, triggers: Tensor, beta: float, state: State) -> dict[str, Any]:
        words = [state.call.words(token[None]) for token in ids[triggers]]
        rows = triggers.nonzero().flatten().tolist()
        return {"triggers": words, "rows": rows, "beta": round(beta, 4), "until": round(self._until(beta), 3)}


def at_end(states: Tensor, content: Tensor) -> Tensor:
    """(N, L, D) states to (N, D) float32 ones at the end-of-text token, right behind the content (N or 1, L)."""
    ends = (content.sum(1) + 1).expand(len(states))
    return states[torch.arange(len(states), device=states.device), ends].float()


def projector(rows: Tensor, rank: int, rcond: float = 1e-4) -> Tensor:
    """(D, D) orthogonal projector on the span of (K, D) rows, on its ``rank`` strongest directions at most."""
    _, strengths, basis = torch.linalg.svd(rows.float(), full_matrices=False)
    kept = basis[:rank][strengths[:rank] > rcond * strengths[0]]
    return kept.T @ kept


def same_token(own: Tensor, neutral: Tensor) -> tuple[Tensor, Tensor]:
    """(n, n) bool twice: which of (n,) token ids are left out together, being the same; and each by itself.

    The neutral one can't be left out, wherever it stands, and goes with no other.
    """
    alone = torch.eye(len(own), dtype=torch.bool, device=own.device)
    return alone | ((own[:, None] == own) & (own != neutral)), alone


def trigger_tokens(pooled: Tensor, equal: Tensor, concept: Tensor, alpha: float) -> Tensor:
    """(n,) bool: tokens without which the prompt, pooled (n, D), lies far from the concept.

    (n, n) ``equal`` says which are the same token; where all are, there is nothing to compare with, and each is one.
    """
    distances = (pooled - pooled @ concept).norm(dim=1)
    others = (~equal).sum(1)
    mean = (distances.sum() - equal.to(distances) @ distances) / others.clamp_min(1)
    return (others == 0) | (distances >= (1 + alpha) * mean)


def active_steps(beta: float, chosen: Masking) -> int:
    """n, in steps of 50: steps 0 to n read the new states."""
    return round(chosen.steps * float(_risk(torch.tensor(beta, dtype=torch.float64), chosen)))


def _risk(beta: Tensor, chosen: Masking) -> Tensor:
    """n as a share of T_up, (…)."""
    return (2 * chosen.slope * (10 * beta - chosen.midpoint)).sigmoid()
