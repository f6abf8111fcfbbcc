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

Where several text encoders read the prompt, each has phrases, triggers and projectors of its own, and the highest beta
is everyone's. T5 has no start token, and each of its states has read the whole prompt: with the scope "after" all of
them are replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from ...config import Filled, NotNegative, Range, Real, checked
from ...errors import ConfigError, UnsupportedPipeline
from ...pipeline.model.text_streams import apart, together
from ...pipeline.straight_through import straight_through
from ...streams import TextStream
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
        neutral: the word that takes a token's place: a single token, but for a bare space before it.
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
class Known:
    """What is known of one text encoder: P_C (D, D), the neutral token's id (1,), the empty prompt (L, D)."""

    concept: Tensor
    neutral: Tensor
    empty: Tensor


@dataclass(frozen=True)
class State:
    """One call: itself, how the concept can be said, and what each text encoder makes of the concept."""

    call: Call
    sayings: Sayings
    streams: tuple[Known, ...]


Row = tuple[Tensor, Tensor, Tensor]  # a prompt's new states (L, D), where they are new (L,), and beta


class SAFREE(TextGuard):
    """SAFREE (arXiv 2410.12761) with its self-validating filter, without latent re-attention.

    Equations are in the module's docstring. No negative prompt is added.
    """

    name = "safree"
    Settings = SAFREESettings
    settings: SAFREESettings
    needs = ("words", "token_ids", "streams")
    wishes = ("repetition",)

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
            UnsupportedPipeline: the call's text states have no room for a word.
        """
        neutral, phrases = call.read([self.settings.neutral]), call.read(self.concept.targets)
        empty = replace(phrases, embeds=call.encode([""]).embeds.float(), token_ids=None, content=None)
        views = zip(apart(neutral), apart(phrases), apart(empty), strict=True)
        return State(call, Sayings.of(call, self.concept), tuple(self._known(call, *view) for view in views))

    def _known(self, call: Call, neutral: PromptEmbeds, phrases: PromptEmbeds, empty: PromptEmbeds) -> Known:
        (stream,) = phrases.streams
        assert neutral.token_ids is not None and neutral.content is not None and phrases.content is not None
        own = neutral.token_ids[neutral.content]
        if len(own) == 0 and self.settings.neutral.strip():
            raise UnsupportedPipeline(
                f"safree: of {len(neutral.content[0])} rows of text states none is left for a word beside the text "
                "encoder's own tokens: call with a longer max_sequence_length."
            )
        said = [token for token in own if call.words(token[None], stream)] if len(own) > 1 else list(own)
        if len(said) != 1:
            word = self.settings.neutral
            raise ConfigError(f"safree: neutral {word!r} is {len(said)} tokens; give a word of one.")
        pooled = at_end(phrases.embeds, phrases.content, stream.first)
        rank = max(1, round(self.chosen.rank * pooled.shape[1]))
        return Known(projector(pooled, rank), torch.stack(said), empty.embeds[0])

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
        repeated, views = state.sayings.repeated(embeds.embeds), apart(embeds)
        found = [
            self._rows(view, repeated, known, state.call) for view, known in zip(views, state.streams, strict=True)
        ]
        steered = together(embeds, [torch.stack([row[0] for row in rows]).to(embeds.embeds.dtype) for rows in found])
        shares = torch.stack([torch.stack([row[2] for row in rows]) for rows in found]).amax(0)
        until = torch.tensor([self._until(beta) for beta in shares.tolist()], device=embeds.embeds.device)
        until = straight_through(until, _risk(shares, self.chosen).float(), torch.ones_like(until))
        triggers = [torch.stack([row[1] for row in rows]) for rows in found]
        acted = torch.stack([one.any(1) for one in triggers]).any(0)
        details = tuple(self._detail(row, views, triggers, shares, state) for row in range(count))
        return Steered(steered, acted, until, details)

    def _rows(self, view: PromptEmbeds, repeated: Tensor, known: Known, call: Call) -> list[Row]:
        """What becomes of each prompt in one stream; copies of a prompt are looked at once."""
        assert view.token_ids is not None and view.content is not None
        seen: dict[tuple[int, ...], Row] = {}
        rows = []
        for place, (states, ids, content) in enumerate(zip(view.embeds, view.token_ids, view.content, strict=True)):
            key = (place,) if states.requires_grad else tuple(ids.tolist())
            if key not in seen:
                again = bool(repeated[place])
                seen[key] = self._row(states.float(), ids, content, view.streams[0], known, call, again=again)
            rows.append(seen[key])
        return rows

    def _row(
        self, states: Tensor, ids: Tensor, content: Tensor, stream: TextStream, known: Known, call: Call, *, again: bool
    ) -> Row:
        """One prompt; ``again``: it only repeats a phrase of the concept."""
        places = content.nonzero().flatten()
        if len(places) == 0:
            return states, content, states.new_zeros(())
        if again:
            return known.empty, content, states.new_ones(())

        def without(out: Tensor) -> Tensor:
            """(n, D) pooled states of the prompt, each with those of its tokens replaced that (n, n) says."""
            left_out = ids.repeat(len(out), 1)
            left_out[:, content] = torch.where(out, known.neutral, left_out[:, content])
            return at_end(call.read_ids(left_out, stream), content[None], stream.first)

        equal, alone = same_token(ids[places], known.neutral)
        pooled = without(alone)
        wordless = pooled if torch.equal(equal, alone) else without(equal)
        triggers = torch.zeros_like(content)
        triggers[places] = trigger_tokens(wordless, equal, known.concept, self.settings.alpha)
        filtered = states @ projector(pooled, len(pooled)) @ (torch.eye(len(known.concept)).to(states) - known.concept)
        seen = slice(0, int(places[-1]) + 2)
        beta = 1 - torch.cosine_similarity(filtered[seen], states[seen], dim=1).mean()
        return torch.where(self._replaced(triggers, stream)[:, None], filtered, states), triggers, beta

    def _replaced(self, triggers: Tensor, stream: TextStream) -> Tensor:
        """(L,) bool: the states that are replaced, those at the triggers or all that have read one."""
        if self.chosen.scope == "triggers":
            return triggers
        return triggers.cumsum(0) > 0 if stream.causal else triggers.any().expand_as(triggers)

    def _until(self, beta: float) -> float:
        """The fraction of the schedule up to which e' is read: between steps n and n + 1 of 50."""
        return (active_steps(beta, self.chosen) + 0.5) / SCHEDULE if self.settings.filter else 1.0

    def _detail(
        self, row: int, views: Sequence[PromptEmbeds], triggers: Sequence[Tensor], betas: Tensor, state: State
    ) -> dict[str, Any]:
        words: list[str] = []
        for view, found in zip(views, triggers, strict=True):
            assert view.token_ids is not None
            words += [state.call.words(token[None], view.streams[0]) for token in view.token_ids[row][found[row]]]
        rows = [found[row].nonzero().flatten().tolist() for found in triggers]
        beta = float(betas[row].detach())
        about = {"beta": round(beta, 4), "until": round(self._until(beta), 3)}
        return {"triggers": words, "rows": rows[0] if len(rows) == 1 else rows, **about}


def at_end(states: Tensor, content: Tensor, first: int) -> Tensor:
    """(N, L, D) states to (N, D) float32 ones at the end-of-text token, right behind the content (N or 1, L).

    ``first`` is the row of it where there is no text.
    """
    rows = torch.arange(1, 1 + content.shape[1], device=content.device)
    ends = torch.where(content.any(1), (content * rows).amax(1), first).expand(len(states))
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
