"""The guarded pipeline as an attacker sees it: one class for each access level, and no way from it to more.

A target holds nothing: what is behind it lies in a table of this module. What it draws goes through the attached
pipeline, so no guard can be gone round, and is counted before it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import torch
from PIL import Image
from torch import Tensor

from ..errors import ConfigError
from ..types import Access, Adversarial, Guided, LatentStart, Spent
from .protocols import Deployed, WhiteBox

if TYPE_CHECKING:
    from ..pipeline.model.guarded_prediction import GuardedPrediction
    from ..pipeline.model.text_encoder import TextEncoder
    from .meter import Meter

_BEHIND: WeakKeyDictionary[BlackBoxTarget, tuple[Operated, Meter]] = WeakKeyDictionary()


class Operated(Deployed, Protocol):
    """What stands behind a target (``deployment.Deployment``)."""

    steps: int
    guidance_scale: float

    @property
    def base(self) -> Operated | None: ...
    @property
    def vocabulary(self) -> tuple[str, ...]: ...
    @property
    def text(self) -> TextEncoder: ...
    @property
    def prediction(self) -> GuardedPrediction: ...

    def latents(self, texts: Sequence[str], seeds: Sequence[int], step: int) -> Tensor: ...


class BlackBoxTarget:
    """Prompt in, picture or refusal out."""

    __slots__ = ("__weakref__",)

    def __init__(self, deployment: Operated, meter: Meter) -> None:
        _BEHIND[self] = (deployment, meter)

    @property
    def steps(self) -> int:
        """Denoising steps of a picture."""
        return _BEHIND[self][0].steps

    @property
    def guidance_scale(self) -> float:
        """Of every picture."""
        return _BEHIND[self][0].guidance_scale

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Words that are one token each, sorted: what anybody knows of a public text encoder."""
        return _BEHIND[self][0].vocabulary

    @property
    def spent(self) -> Spent:
        """What was asked for so far; a copy."""
        return replace(_BEHIND[self][1].spent)

    def generate(
        self,
        texts: Sequence[str] | None = None,
        *,
        seeds: Sequence[int],
        embeds: Tensor | None = None,
        latents: Tensor | None = None,
        eta: float = 0.0,
        noise_scale: float = 1.0,
        start_step: int = 0,
    ) -> list[Image.Image | None]:
        """One picture a seed; None where the pipeline refused. No gradient comes through.

        Args:
            texts: prompts, or one for all seeds; or else
            embeds: text states (B, L, D), as ``prompt_embeds``.
            seeds: of each picture's noise.
            latents, eta, noise_scale, start_step: see ``LatentStart``; ``latents`` is (B, C, H, W).

        Raises:
            BudgetSpent: the budget has fewer pictures left.
            PromptRefused: what the content policy never draws.
            ConfigError: both of texts and embeds, or none, or of another number than the seeds.
        """
        deployment, meter = _BEHIND[self]
        sent = _sent(texts, embeds, len(seeds))
        if latents is not None and len(latents) != len(seeds):
            raise ConfigError(f"{len(latents)} latents for {len(seeds)} seeds; give one each.")
        start = LatentStart(None, eta, noise_scale, start_step)
        begun = [replace(start, latents=row) for row in latents] if latents is not None else [start] * len(seeds)
        meter.take("pictures", len(seeds))
        drawn = deployment.draw([replace(a, start=b) for a, b in zip(sent, begun, strict=True)], seeds)
        return [one.image for one in drawn]


class TextEncoderTarget(BlackBoxTarget):
    """Also the text encoder, with gradients."""

    __slots__ = ()

    @property
    def token_embeddings(self) -> Tensor:
        """(V, W) rows of the text encoder's embedding table; a copy."""
        return _BEHIND[self][0].text.table

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Token ids of start, end and padding."""
        return _BEHIND[self][0].text.special_ids

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """(B, L) token ids: start, the text's own (cut where it is too long), end and padding."""
        return _BEHIND[self][0].text.ids(texts)

    def words(self, ids: Tensor) -> list[str]:
        """(B, N) token ids as texts, without start, end and padding."""
        return _BEHIND[self][0].text.words(ids)

    def encode(self, ids: Tensor | None = None, *, token_embeds: Tensor | None = None) -> Tensor:
        """(B, L, D) states of (B, L) token ids, or of (B, L, W) rows in the place of the table's, with gradients.

        Raises:
            BudgetSpent: the budget has fewer encodings left.
            ConfigError: both, or none.
        """
        deployment, meter = _BEHIND[self]
        rows = ids if token_embeds is None else token_embeds
        if rows is None or (ids is not None and token_embeds is not None):
            raise ConfigError("encode takes token ids or token embeddings, one of the two.")
        meter.take("encodings", len(rows))
        return deployment.text.encode(ids, token_embeds)


class WhiteBoxTarget(TextEncoderTarget):
    """Also every weight: guarded predictions with gradients, the guarded decoder, and the unguarded model.

    Latents x_t are variance-preserving: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise, whatever the scheduler.
    """

    __slots__ = ()

    @property
    def base(self) -> WhiteBox:
        """The unguarded model, which the attacker has too. Nothing of it is counted or limited."""
        deployment = _BEHIND[self][0]
        return (deployment.base or deployment).target(Access.WHITE_BOX)

    @property
    def timesteps(self) -> tuple[int, ...]:
        """The training timesteps that a picture's steps visit, noisiest first."""
        return _BEHIND[self][0].prediction.timesteps

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one picture's latents, or (S, C) where the denoiser takes them packed."""
        return _BEHIND[self][0].prediction.latent_shape

    def noisy(self, clean: Tensor, timestep: int, noise: Tensor) -> Tensor:
        """x_t (B, C, H, W) of clean latents at a training timestep."""
        return _BEHIND[self][0].prediction.noisy(clean, timestep, noise)

    def clean(self, latents: Tensor, timestep: int, noise: Tensor) -> Tensor:
        """x_0 (B, C, H, W) that x_t would have, were that its noise."""
        return _BEHIND[self][0].prediction.clean(latents, timestep, noise)

    def alpha_bar(self, timestep: int) -> float:
        """abar_t, the share of x_0's variance in x_t, in (0, 1)."""
        return _BEHIND[self][0].prediction.alpha_bar(timestep)

    @property
    def decoder_guarded(self) -> bool:
        """Whether a guard stands between latents and pixels, so that losses on latents miss it."""
        return _BEHIND[self][0].prediction.decoder_guarded

    def predict(
        self,
        latents: Tensor,
        timestep: int,
        *,
        ids: Tensor | None = None,
        token_embeds: Tensor | None = None,
        embeds: Tensor | None = None,
    ) -> Guided:
        """What the guarded pipeline does at x_t: the guided prediction, and x_t where a guard moved it.

        Differentiable with respect to latents, token embeddings and states, through every guard: hard choices have
        a straight-through gradient. A guard that remembers earlier steps is seen in its first.

        Args:
            latents: x_t, (B, C, H, W).
            timestep: of training, 0 to T - 1; a guard takes it for the nearest step of the schedule.
            ids: (B, L) token ids, which a text guard may read. With ``token_embeds`` they say which tokens these are.
            token_embeds: (B, L, W); encoded in the ids' place.
            embeds: (B, L, D) states, as ``prompt_embeds`` would be; no ids then.

        Raises:
            BudgetSpent: the budget has fewer than B predictions left.
            GuardError: a guard failed.
        """
        prediction = self._prompted(len(latents))
        return prediction.guided(latents, timestep, prediction.prompt(ids, token_embeds, embeds))

    def predict_noise(
        self,
        latents: Tensor,
        timestep: int,
        *,
        ids: Tensor | None = None,
        token_embeds: Tensor | None = None,
        embeds: Tensor | None = None,
    ) -> Tensor:
        """The noise (B, C, H, W) that the prompt stands for under the guards, guidance taken out again.

        With e the empty prompt's and g the guarded guided prediction, as seen from the x_t that was given,
        e + (g - e) / s. Without a trajectory guard that is the denoiser's plain prediction for the (guarded) prompt,
        at half the cost: the loss of attacks on denoisers uses it. Arguments and errors are those of ``predict``.
        """
        prediction = self._prompted(len(latents))
        return prediction.noise(latents, timestep, prediction.prompt(ids, token_embeds, embeds))

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] of finished latents, through the decoder guards, with gradients."""
        return _BEHIND[self][0].prediction.decode(latents)

    def encode_pictures(self, images: Sequence[Image.Image]) -> Tensor:
        """(B, C, H, W) mean latents of pictures."""
        return _BEHIND[self][0].prediction.encode_pictures(images)

    def latents(self, texts: Sequence[str], *, seeds: Sequence[int], step: int) -> Tensor:
        """(B, C, H, W): x_t before ``step`` of the schedule, on DDIM's way to pictures of texts; detached.

        Raises:
            BudgetSpent, PromptRefused: as for pictures, which these cost as much as.
        """
        deployment, meter = _BEHIND[self]
        meter.take("pictures", len(seeds))
        return deployment.latents(texts, seeds, step)

    def _prompted(self, count: int) -> Any:
        deployment, meter = _BEHIND[self]
        meter.take("predictions", count)
        return deployment.prediction


TARGETS: dict[Access, type[BlackBoxTarget]] = {
    Access.BLACK_BOX: BlackBoxTarget,
    Access.TEXT_ENCODER: TextEncoderTarget,
    Access.WHITE_BOX: WhiteBoxTarget,
}


def _sent(texts: Sequence[str] | None, embeds: Tensor | None, count: int) -> list[Adversarial]:
    if (texts is None) == (embeds is None) or isinstance(texts, str):
        raise ConfigError("give texts (a list) or embeds, one of the two.")
    rows = [Adversarial(text=text) for text in texts or ()]
    if embeds is not None:
        rows = [Adversarial(embeds=row.detach()) for row in torch.as_tensor(embeds)]
    if len(rows) not in (1, count):
        raise ConfigError(f"{len(rows)} prompts for {count} seeds; give one for each, or one for all.")
    return rows * (count // len(rows))
