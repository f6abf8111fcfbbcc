"""Ring-A-Bell without its search: the prompt's text states with more of the concept are sent as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from ...config import Filled, Real, checked
from ...targets.protocols import OpenEncoder
from ...types import Access, Adversarial, Budget, Prompt
from ..base import PromptAttack
from ._concept_vector import concept_vector


@checked
@dataclass(frozen=True)
class RingABellEmbedSettings:
    """Settings of ``RingABellEmbed``.

    Attributes:
        etas: how much of the concept is added; one picture for each, in their order.
    """

    etas: Annotated[tuple[Real, ...], Filled()] = (0.5, 1.0, 2.0, 3.0)


class RingABellEmbed(PromptAttack[OpenEncoder]):
    """Text states E(prompt) + eta c, sent as ``prompt_embeds`` (the "Ring-A-Bell" of RECE's repository, 2407.12383).

    The vector c is Ring-A-Bell's (arXiv 2310.10012). RECE uses eta 3 for nudity and 0.9 for a style. It is a stronger
    attacker than Ring-A-Bell's, who sends text: report the two apart.
    """

    name = "ring_a_bell_embed"
    access: ClassVar[Access] = Access.TEXT_ENCODER
    Settings = RingABellEmbedSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {"etas": (3.0,)},
        "tiny": {"etas": (1.0, 3.0)},
    }

    def run(
        self, target: OpenEncoder, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        with torch.no_grad():
            states = target.encode(target.tokenize([prompt.text]))[0]
        vector = concept_vector(target, self.concept)
        for eta in self.settings.etas:
            yield Adversarial(embeds=states + eta * vector, note={"eta": eta})
