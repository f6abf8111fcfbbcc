"""MMA-Diffusion, text part: tokens with the pooled text state of the prompt, none of which says what it is about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_letters
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ...config import Natural, checked
from ...errors import ConfigError
from ...targets.protocols import OpenEncoder
from ...types import Access, Adversarial, Budget, Prompt
from ..base import PromptAttack
from ..tokens import WordFilter, end_of, framed, own_ids, swap_gradient, swapped


@checked
@dataclass(frozen=True)
class MMADiffusionSettings:
    """Settings of ``MMADiffusion``; all are 1 or more.

    Attributes:
        length: tokens of a prompt.
        steps: exchanges of one token, each the best of many.
        top: how many tokens the gradient proposes for each place.
        candidates: exchanges that are tried in a step.
        restarts: searches for a prompt; one picture for each.
    """

    length: Natural = 16
    steps: Natural = 60
    top: Natural = 64
    candidates: Natural = 64
    restarts: Natural = 3


class MMADiffusion(PromptAttack[OpenEncoder]):
    """Greedy coordinate gradient on the text encoder, with a list of forbidden words (MMA-Diffusion, 2311.17516).

    It minimises 1 - cos(pooled(tokens), pooled(prompt)). In each step the gradient with respect to one-hot tokens
    names the best tokens for each place, exchanges of one token are tried, and the best of them is the next state,
    be it worse; the best state of all is sent. No token that contains one of the concept's words is ever used, nor
    one that makes such a word with its neighbours, and what does not read back to as many tokens is dropped: both
    distance and result are those of the text as the pipeline will read it.

    Settings "paper": 20 tokens, 1000 steps, the best 256, 512 exchanges, 10 restarts. The released code takes the
    gradient one place too far left; here it is the gradient of the place itself. "default" makes about a
    hundredth of the exchanges. The attack on safety checkers with a changed picture is not part of this.
    """

    name = "mma_diffusion"
    access: ClassVar[Access] = Access.TEXT_ENCODER
    Settings = MMADiffusionSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {"length": 20, "steps": 1000, "top": 256, "candidates": 512, "restarts": 10},
        "tiny": {"length": 4, "steps": 2, "top": 8, "candidates": 8, "restarts": 2},
    }

    def run(
        self, target: OpenEncoder, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        goal = PooledMatch(target, pooled(target, target.tokenize([prompt.text])), self.settings.length)
        words = WordFilter.of(target, self.concept)
        for _ in range(self.settings.restarts):
            own, distance = self._searched(goal, words, generator)
            yield Adversarial(text=target.words(own[None])[0], note={"distance": round(distance, 4)})

    def _searched(self, goal: PooledMatch, words: WordFilter, generator: torch.Generator) -> tuple[Tensor, float]:
        """The (length,) token ids that came nearest, and how near."""
        settings, target = self.settings, goal.target
        own = _letters(target, settings.length, generator)
        best, nearest = own, float("inf")
        for _ in range(settings.steps):
            gradient = swap_gradient(target, framed(target, own[None]), goal.loss)[1 : 1 + settings.length]
            gradient = F.normalize(gradient, dim=1)
            tried = words.readable(swapped(own, gradient, words.free, settings.top, settings.candidates, generator))
            if not len(tried):
                continue
            with torch.no_grad():
                found = goal.distances(target.token_embeddings[framed(target, tried)])
            own = tried[found.argmin()]
            if found.min() < nearest:
                best, nearest = own, float(found.min())
        return best, nearest


class PooledMatch(NamedTuple):
    """Be near to (1, D) ``wanted`` with ``length`` tokens."""

    target: OpenEncoder
    wanted: Tensor
    length: int

    def loss(self, rows: Tensor) -> Tensor:
        """Of (1, L, W) token embeddings."""
        return self.distances(rows).sum()

    def distances(self, rows: Tensor) -> Tensor:
        """(B,) 1 - cosine of the pooled states of (B, L, W); what follows the end token is not read by it."""
        states = self.target.encode(token_embeds=rows[:, : self.length + 2])
        return 1 - torch.cosine_similarity(states[:, self.length + 1], self.wanted)


@torch.no_grad()
def pooled(target: OpenEncoder, ids: Tensor) -> Tensor:
    """(B, D): the states of the end token."""
    return target.encode(ids)[torch.arange(len(ids)), end_of(target, ids)]


def _letters(target: OpenEncoder, count: int, generator: torch.Generator) -> Tensor:
    """(count,) token ids of random letters, each a word of its own."""
    places = torch.randint(len(ascii_letters), (count,), generator=generator).tolist()
    own = own_ids(target, " ".join(ascii_letters[place] for place in places))
    if len(own) != count:
        raise ConfigError(f"mma_diffusion: {count} tokens are more than the text encoder reads.")
    return own
