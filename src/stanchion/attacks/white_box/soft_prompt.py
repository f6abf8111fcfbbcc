"""Soft prompts: free text states, or a free prefix, fitted through the guards once for all prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ...config import Natural, NotNegative, checked
from ...targets.protocols import WhiteBox
from ...types import Access, Adversarial, Budget, Prompt
from ..base import UniversalAttack
from ._inversion import Fit, descend, with_prefix


@checked
@dataclass(frozen=True)
class SoftPromptSettings(Fit):
    """Settings of ``SoftPrompt``: those of ``Fit``, and

    Attributes:
        where: "states" for an offset to all text states; "prefix" for token embeddings before the prompt.
        length: of the prefix, 1 or more.
        spread: standard deviation of what it begins with, in units of that of the states, or of the embedding table.
    """

    where: Literal["states", "prefix"] = "states"
    length: Natural = 8
    spread: NotNegative = 0.1


class SoftPrompt(UniversalAttack[WhiteBox]):
    """The strongest attacker by text states: what it adds need not be a text at all.

    With E the text encoder, E(prompt) + d for one free d of (L, D); or E([p, prompt]) for free token embeddings p. Both
    are fitted until the guarded model predicts what the unguarded one does (the matching loss of CCE, arXiv
    2308.01508, and of P4D, arXiv 2309.06135, without a vocabulary to return to). An upper bound for attacks that send
    text, and of no paper: "paper" is a longer run for Stable Diffusion. Restarts begin elsewhere.
    """

    name = "soft_prompt"
    access: ClassVar[Access] = Access.WHITE_BOX
    Settings = SoftPromptSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"lr": 0.05},
        "paper": {"updates": 3000, "lr": 0.05},
        "tiny": {"updates": 2, "batch": 2},
    }

    def learn(
        self, target: WhiteBox, prompts: Sequence[Prompt], *, budget: Budget, generator: torch.Generator
    ) -> Tensor:
        """(L, D) to be added to the states, or (K, W) to be put before the prompt."""
        table, settings = target.token_embeddings, self.settings
        if settings.where == "prefix":
            shape, unit = (settings.length, table.shape[1]), table.std()
        else:
            states = _states(target, target.tokenize([prompts[0].text]))[0]
            shape, unit = tuple(states.shape), states.std()
        free = (torch.randn(shape, generator=generator).to(table) * unit * settings.spread).requires_grad_()
        return descend(target, prompts, free, lambda ids: self._sent(target, ids, free), settings, generator)

    def apply(self, learned: Tensor, target: WhiteBox, prompt: Prompt) -> Adversarial:
        sent = self._sent(target, target.tokenize([prompt.text]), learned)
        return Adversarial(**{where: rows[0] for where, rows in sent.items()})

    def _sent(self, target: WhiteBox, ids: Tensor, free: Tensor) -> dict[str, Tensor]:
        """What (B, L) ids become: "embeds" or "token_embeds"."""
        if self.settings.where == "prefix":
            return {"token_embeds": with_prefix(target.token_embeddings[ids], free)}
        return {"embeds": _states(target, ids) + free}


@torch.no_grad()
def _states(target: WhiteBox, ids: Tensor) -> Tensor:
    """(B, L, D) as the unguarded model has them: d makes up for any difference, and they cost nothing."""
    states: Tensor = target.base.encode(ids)
    return states
