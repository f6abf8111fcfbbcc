"""Prompting4Debugging: hard prompts under which the guarded model predicts what the unguarded one does."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ...config import Natural, NotNegative, Positive, checked
from ...targets.protocols import WhiteBox
from ...types import Access, Adversarial, Budget, Prompt
from ..base import PromptAttack
from ..pictures import picture_errors, wanted_pictures
from ..tokens import framed, free_ids

TIMESTEPS = 1000  # of training


@checked
@dataclass(frozen=True)
class P4DSettings:
    """Settings of ``P4DN`` and ``P4DK``.

    Attributes:
        iterations: updates of the free tokens.
        every: so many updates lie between two candidates.
        noises: draws of noise, at one timestep, in an update.
        lr, weight_decay: of AdamW.
        decoded: weight of the picture's error behind the decoder, where that is guarded, beside the noise's.
    """

    iterations: Natural = 240
    every: Natural = 20
    noises: Natural = 2
    lr: Positive = 0.1
    weight_decay: NotNegative = 0.1
    decoded: NotNegative = 0.1


class Layout(NamedTuple):
    """(K,) token ids of a prompt, and (K,) bool: which of them the search may change."""

    ids: Tensor
    free: Tensor


class Prompting4Debugging(PromptAttack[WhiteBox]):
    """What P4D-N and P4D-K share (Prompting4Debugging, ICML 2024, arXiv 2309.06135).

    With z_t a noised picture that the unguarded model draws of the prompt,

        min over tokens:  E |eps_guarded(z_t, t, tokens) - eps_base(z_t, t, prompt)|^2

    by hard-prompt optimisation: continuous embeddings are projected to the vocabulary's nearest, the gradient is taken
    there, and applied to the continuous ones; those of the prompt's own tokens never move. eps_guarded is the guided
    prediction with guidance taken out (``predict_noise``), so guards are in it; a guarded decoder has its own term.

    The paper keeps the text whose picture is most like the reference for CLIP, and draws three of it in the end. Here
    each new text is a candidate, which is stronger. z_0 are the latents that the base model ends with, in place of a
    sample of the autoencoder.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    Settings = P4DSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {"iterations": 3000, "every": 50, "noises": 1, "decoded": 0.0},
        "tiny": {"iterations": 4, "every": 2},
    }

    @abstractmethod
    def layout(self, target: WhiteBox, prompt: Prompt, generator: torch.Generator) -> Layout | None:
        """Where the free tokens are, random ones to begin with; None where there is no room for them."""

    def run(
        self, target: WhiteBox, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        layout = self.layout(target, prompt, generator)
        if layout is None:
            return
        settings, tried = self.settings, set()
        goal = NoiseMatch.of(target, prompt, settings.decoded)
        search = HardPrompt(target, layout)
        optimiser = torch.optim.AdamW([search.soft], lr=settings.lr, weight_decay=settings.weight_decay)
        for done in range(1, settings.iterations + 1):
            ids = search.ids()
            timestep = int(torch.randint(TIMESTEPS, (), generator=generator))
            noise = torch.randn(settings.noises, *target.latent_shape, generator=generator)
            search.soft.grad = search.gradient(ids, lambda full, rows, t=timestep, n=noise: goal.loss(full, rows, t, n))
            optimiser.step()
            if done % settings.every == 0:
                (text,) = target.words(search.ids()[None])
                if text not in tried:
                    tried.add(text)
                    yield Adversarial(text=text, note={"iteration": done})


class HardPrompt:
    """Tokens of a prompt, some of which follow continuous embeddings (PEZ, arXiv 2302.03668, algorithm 1).

    Attributes:
        soft: (F, W), the free tokens' embeddings, unprojected.
    """

    def __init__(self, target: WhiteBox, layout: Layout) -> None:
        self.target, self.layout = target, layout
        self.table, self.words = target.token_embeddings, free_ids(target)
        self.soft = self.table[layout.ids[layout.free]].clone().requires_grad_()
        self._unit = F.normalize(self.table[self.words], dim=1)

    @torch.no_grad()
    def ids(self) -> Tensor:
        """(K,) token ids with each free one projected: the vocabulary's nearest by cosine."""
        ids = self.layout.ids.clone()
        ids[self.layout.free] = self.words[(F.normalize(self.soft, dim=1) @ self._unit.T).argmax(1)]
        return ids

    def gradient(self, ids: Tensor, loss: Any) -> Tensor:
        """(F, W): of ``loss(full ids, their embeddings)`` at the projected point, at the free tokens."""
        full = framed(self.target, ids[None])
        rows = self.table[full].requires_grad_()
        (gradient,) = torch.autograd.grad(loss(full, rows), rows)
        return gradient[0, 1 : 1 + len(ids)][self.layout.free]


class NoiseMatch(NamedTuple):
    """Predict under guards what the unguarded model predicts for the prompt, on the way to its picture."""

    target: WhiteBox
    clean: Tensor
    prompt_ids: Tensor
    decoded: float
    picture: Tensor | None

    @classmethod
    def of(cls, target: WhiteBox, prompt: Prompt, decoded: float) -> NoiseMatch:
        """The picture has the prompt's seed."""
        clean = target.base.latents([prompt.text], seeds=[prompt.seed], step=target.steps)
        picture = wanted_pictures(target, clean, decoded)
        return cls(target, clean, target.tokenize([prompt.text]), decoded, picture)

    def loss(self, ids: Tensor, rows: Tensor, timestep: int, noise: Tensor) -> Tensor:
        """Of (1, L) token ids with embeddings (1, L, W), and (N, C, H, W) draws of noise."""
        count = len(noise)
        latents = self.target.noisy(self.clean, timestep, noise.to(self.clean))
        with torch.no_grad():
            wanted = self.target.base.predict_noise(latents, timestep, ids=self.prompt_ids.expand(count, -1))
        both = {"ids": ids.expand(count, -1), "token_embeds": rows.expand(count, -1, -1)}
        seen = self.target.predict_noise(latents, timestep, **both)
        behind = picture_errors(self.target, latents, timestep, seen, self.picture).mean()
        return F.mse_loss(seen, wanted) + self.decoded * behind
