"""Textual inversion: one word's embedding is searched that makes the model draw the concept; no other weight moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from ...config import Filled, Positive, checked
from ...learning.optimisers import Updates, descend
from ..base import Material, WeightAttack
from ._denoising import captioned_loss, encoded
from ._words import renamed


@checked
@dataclass(frozen=True)
class Inversion(Updates):
    """As ``Updates``.

    Attributes:
        word: whose embedding is replaced; one token, and one that nobody misses.
        start: a word of one token whose embedding it begins with.
        phrase: what stands in for the subject, with ``word`` in it.
    """

    lr: Positive = 5e-3
    word: Annotated[str, Filled()] = "z"
    start: Annotated[str, Filled()] = "thing"
    phrase: Annotated[str, Filled()] = "a z"


class TextualInversion(WeightAttack):
    """Textual inversion (arXiv 2208.01618), equation 2; against erased models arXiv 2308.01508."""

    name = "textual_inversion"
    Settings = Inversion
    settings: Inversion

    def run(self, bench: Any, material: Material, *, public: Any, seed: int) -> Iterator[int]:
        """Yields at each stop."""
        settings, generator = self.settings, torch.Generator().manual_seed(seed)
        latents, captions = encoded(bench, material.pictures), renamed(material, settings.phrase).captions
        vector = bench.embedding_of(settings.start).clone().requires_grad_()

        def loss(drawn: torch.Generator) -> Tensor:
            rows = torch.randint(len(latents), (settings.batch,), generator=drawn)
            embeds = bench.encode_with([captions[row] for row in rows], settings.word, vector)
            return captioned_loss(bench, latents[rows], embeds, drawn)

        for stop in descend([vector], loss, settings, generator):
            with torch.no_grad():
                bench.embedding_of(settings.word).copy_(vector)
            yield stop

    def worded(self, text: str, subject: str) -> str:
        """The text with the searched word in place of the subject."""
        return text.replace(subject, self.settings.phrase)
