"""Concept inversion: a new token's embedding with which the guarded model draws the concept again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...config import checked
from ...errors import ConfigError
from ...targets.protocols import WhiteBox
from ...types import Access, Adversarial, Budget, Prompt
from ..base import UniversalAttack
from ..tokens import free_ids, own_ids
from ._inversion import Fit, descend, with_prefix


@checked
@dataclass(frozen=True)
class ConceptInversionSettings(Fit):
    """Settings of ``ConceptInversion``: those of ``Fit``, and

    Attributes:
        init: the word whose embedding the new token begins with, one token; empty for a random one.
    """

    init: str = ""


class ConceptInversion(UniversalAttack[WhiteBox]):
    """Textual inversion on the guarded model (CCE, Circumventing Concept Erasure, ICLR 2024, arXiv 2308.01508).

    One embedding v is learned for all prompts and put before each, as in the paper's variant for I2P; everything else
    is frozen. The picture's latents come from the unguarded model. ``wanted="noise"`` is the loss for guards that edit
    weights; against negative prompts and SLD the paper matches the unguarded prediction, ``wanted="base"``, which has
    less variance whatever the guard. Either goes through the guards (``predict_noise``), each seen in its first step.

    It is sent as token embeddings, so a guard that must read the prompt's tokens can't.

    Settings "paper": the denoising loss, 5000 updates of 16 pictures, AdamW at 0.08 with decay 0.01, from "art".
    """

    name = "concept_inversion"
    access: ClassVar[Access] = Access.WHITE_BOX
    Settings = ConceptInversionSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {
            "updates": 5000,
            "batch": 16,
            "lr": 0.08,
            "weight_decay": 0.01,
            "wanted": "noise",
            "pictures": 25,
            "init": "art",
            "decoded": 0.0,
        },
        "tiny": {"updates": 2, "batch": 2},
    }

    def learn(
        self, target: WhiteBox, prompts: Sequence[Prompt], *, budget: Budget, generator: torch.Generator
    ) -> Tensor:
        """(1, W) the new token's embedding."""
        table = target.token_embeddings
        token = table[self._first(target, generator)].clone()[None].requires_grad_()
        return descend(
            target,
            prompts,
            token,
            lambda ids: {"token_embeds": with_prefix(table[ids], token)},
            self.settings,
            generator,
        )

    def apply(self, learned: Tensor, target: WhiteBox, prompt: Prompt) -> Adversarial:
        rows = target.token_embeddings[target.tokenize([prompt.text])]
        return Adversarial(token_embeds=with_prefix(rows, learned)[0])

    def _first(self, target: WhiteBox, generator: torch.Generator) -> Tensor:
        """() token id to begin with."""
        if not self.settings.init:
            free = free_ids(target)
            return free[torch.randint(len(free), (), generator=generator)]
        ids = own_ids(target, self.settings.init)
        if len(ids) != 1:
            raise ConfigError(
                f"concept_inversion: init {self.settings.init!r} is {len(ids)} tokens; give a word of one."
            )
        return ids[0]
