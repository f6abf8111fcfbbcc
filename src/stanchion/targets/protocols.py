"""What an attack may ask of the pipeline that it attacks: one protocol for each access, and the operator's side.

Attacks know these and no class behind them. What a target counts and refuses is said in ``guarded_model.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar, overload

from PIL import Image
from torch import Tensor

from ..types import Access, Adversarial, Budget, Drawn, Guided, Spent
from .meter import Meter


class BlackBox(Protocol):
    """``Access.BLACK_BOX``: prompt in, picture or refusal out."""

    @property
    def steps(self) -> int: ...
    @property
    def guidance_scale(self) -> float: ...
    @property
    def vocabulary(self) -> tuple[str, ...]: ...
    @property
    def spent(self) -> Spent: ...

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
    ) -> list[Image.Image | None]: ...


class OpenEncoder(BlackBox, Protocol):
    """``Access.TEXT_ENCODER``: also the text encoder, with gradients."""

    @property
    def token_embeddings(self) -> Tensor: ...
    @property
    def special_ids(self) -> tuple[int, ...]: ...

    def tokenize(self, texts: Sequence[str]) -> Tensor: ...
    def words(self, ids: Tensor) -> list[str]: ...
    def encode(self, ids: Tensor | None = None, *, token_embeds: Tensor | None = None) -> Tensor: ...


class WhiteBox(OpenEncoder, Protocol):
    """``Access.WHITE_BOX``: also every weight, through the guards, and the unguarded model as ``base``."""

    @property
    def base(self) -> WhiteBox: ...
    @property
    def timesteps(self) -> tuple[int, ...]: ...
    @property
    def latent_shape(self) -> tuple[int, ...]: ...
    @property
    def decoder_guarded(self) -> bool: ...

    def noisy(self, clean: Tensor, timestep: int, noise: Tensor) -> Tensor: ...
    def clean(self, latents: Tensor, timestep: int, noise: Tensor) -> Tensor: ...
    def alpha_bar(self, timestep: int) -> float: ...

    def predict(
        self,
        latents: Tensor,
        timestep: int,
        *,
        ids: Tensor | None = None,
        token_embeds: Tensor | None = None,
        embeds: Tensor | None = None,
    ) -> Guided: ...

    def predict_noise(
        self,
        latents: Tensor,
        timestep: int,
        *,
        ids: Tensor | None = None,
        token_embeds: Tensor | None = None,
        embeds: Tensor | None = None,
    ) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...
    def encode_pictures(self, images: Sequence[Image.Image]) -> Tensor: ...
    def latents(self, texts: Sequence[str], *, seeds: Sequence[int], step: int) -> Tensor: ...


class Deployed(Protocol):
    """The operator's side: what runs an attack, and no attack itself, may ask for."""

    @property
    def name(self) -> str: ...

    def meter(self, budget: Budget) -> Meter: ...

    @overload
    def target(self, access: Literal[Access.WHITE_BOX], meter: Meter | None = None) -> WhiteBox: ...
    @overload
    def target(self, access: Literal[Access.TEXT_ENCODER], meter: Meter | None = None) -> OpenEncoder: ...
    @overload
    def target(self, access: Access, meter: Meter | None = None) -> BlackBox: ...

    def draw(self, sent: Sequence[Adversarial], seeds: Sequence[int]) -> list[Drawn]: ...
    def passes_with_gradient(self, text: str, seed: int) -> int: ...


Target = TypeVar("Target", bound=BlackBox)
