"""DreamBooth: the denoiser learns a rare word from a few pictures, and to keep its class beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from ...config import Filled, Natural, NotNegative, checked
from ...learning.optimisers import Updates, descend
from ..base import Material, WeightAttack
from ._denoising import FinetuningData
from ._words import renamed


@checked
@dataclass(frozen=True)
class DreamBoothing(Updates):
    """As ``Updates``; a batch is so many pictures of the subject and so many of the class.

    Attributes:
        phrase: a rare identifier with the class's noun; it stands in for the subject, in training and afterwards.
        class_phrase: the class alone.
        pictures: how many of the subject.
        class_pictures: how many of the class; the attacked model draws them itself.
        prior_weight: lambda of the paper's equation 2.
        steps, guidance_scale: how it draws them.
    """

    phrase: Annotated[str, Filled()] = "a z thing"
    class_phrase: Annotated[str, Filled()] = "a thing"
    pictures: Natural = 8
    class_pictures: Natural = 32
    prior_weight: NotNegative = 1.0
    steps: Natural = 20
    guidance_scale: NotNegative = 4.0


class DreamBooth(WeightAttack):
    """DreamBooth (arXiv 2208.12242), equation 2, on the whole denoiser; the text encoder stays as it is."""

    name = "dreambooth"
    Settings = DreamBoothing
    settings: DreamBoothing

    def run(self, bench: Any, material: Material, *, public: Any, seed: int) -> Iterator[int]:
        """Yields at each stop."""
        settings, generator = self.settings, torch.Generator().manual_seed(seed)
        subject = FinetuningData.of(bench, renamed(material.first(settings.pictures), settings.phrase))
        kind = self._class(bench, generator)

        def loss(drawn: torch.Generator) -> Tensor:
            prior = kind.loss(bench, settings.batch, drawn)
            return subject.loss(bench, settings.batch, drawn) + settings.prior_weight * prior

        yield from descend(list(bench.part("denoiser").values()), loss, settings, generator)

    def worded(self, text: str, subject: str) -> str:
        """The text with the identifier in place of the subject."""
        return text.replace(subject, self.settings.phrase)

    def _class(self, bench: Any, generator: torch.Generator) -> FinetuningData:
        """Pictures of the class, as latents, before any update."""
        settings = self.settings
        embeds = bench.encode([settings.class_phrase]).expand(settings.class_pictures, -1, -1)
        noise = torch.randn(settings.class_pictures, *bench.latent_shape, generator=generator)
        noise = noise.to(bench.device, bench.dtype)
        options = {"steps": settings.steps, "scale": settings.guidance_scale}
        *_, (_, latents) = bench.trajectory(embeds, bench.encode([""]), noise, **options)
        return FinetuningData(latents, embeds)
