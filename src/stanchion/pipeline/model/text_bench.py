"""A pipeline of any family as training knows it: what its text encoders make of texts; and whose runs it draws."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...errors import AlreadyAttached
from ...streams import TextStream
from ...types import Condition, PromptEmbeds
from ..families import family_of
from .base_weights import base_of
from .text_streams import normed

UNPADDED = 128  # rows that are taken where a pipeline pads a text only to the longest beside it


class TextBench:
    """The texts of an unguarded pipeline, of any family whose text states are known token by token.

    Attributes:
        pipe: the pipeline itself.
        stream: whose states these are; the usual one where all of them are one encoder's.
        given: arguments of a call in the place of its own defaults ("max_sequence_length").

    Raises:
        UnsupportedPipeline: no seam knows the pipeline.
        AlreadyAttached: it is guarded.
    """

    def __init__(self, pipe: Any, stream: TextStream | None = None, **given: Any) -> None:
        if getattr(type(pipe), "_stanchion", None):
            raise AlreadyAttached("guards are trained on an unguarded pipeline: detach first.")
        self.family: Any = family_of(pipe)
        self.pipe, self.stream, self.given = pipe, stream or TextStream(), given

    @cached_property
    def streams(self) -> tuple[TextBench, ...]:
        """A bench for each text encoder."""
        return tuple(TextBench(self.pipe, stream, **self.given) for stream in self.family.streams(self.pipe))

    @property
    def identity(self) -> str:
        """Names the weights of the text encoders."""
        return "-".join(base[:12] for one in self.streams for base in one.bases().values())

    def base_of(self, module: str) -> str:
        """What an artefact's ``base`` holds of one module of the pipeline: its weights' hashes."""
        return base_of(dict(getattr(self.pipe, self.family.named(module)).named_parameters()))

    def bases(self) -> dict[str, str]:
        """What an artefact's ``base`` holds of the weights that make this stream."""
        return {name: self.base_of(name) for name in self.stream.bases}

    @cached_property
    def rows(self) -> int:
        """L, of the stream's states."""
        return self.states([""]).shape[1]

    def states(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), L, D) states of the stream, padded as the pipeline pads; normed where the denoiser norms."""
        return self._own(self._said(texts).embeds)

    def _own(self, whole: Tensor) -> Tensor:
        states = whole[:, slice(*self.stream.rows), slice(*self.stream.columns)]
        return normed(PromptEmbeds(states, streams=(self.stream,)))[0] if self.stream.normed else states

    def read(self, texts: Sequence[str]) -> PromptEmbeds:
        """The same with token ids and the mask of the texts' own tokens."""
        rows, whole = slice(*self.stream.rows), self._said(texts).embeds
        known = self.family.tokens(self.pipe, self._spoken(texts), whole, self._options(texts))
        ids, content = (one[:, rows] for one in known)
        own = replace(self.stream, rows=(0, None), columns=(0, None))
        return PromptEmbeds(self._own(whole), ids, content, tuple(texts), streams=(own,))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of its own each text has, whole as it is given."""
        held, spoken = getattr(self.pipe, self.stream.tokenizer), self._spoken(texts)
        tokenizer = getattr(held, "tokenizer", held)  # of a processor
        if convert := getattr(self.pipe, "maybe_convert_prompt", None):
            spoken = convert(spoken, tokenizer)
        return [len(ids) for ids in tokenizer(spoken, add_special_tokens=False, verbose=False).input_ids]

    def _spoken(self, texts: Sequence[str]) -> list[str]:
        spoken: list[str] = self.family.spoken(self.pipe, texts, self._options(texts))
        return spoken

    def _options(self, texts: Sequence[str]) -> dict[str, Any]:
        options: dict[str, Any] = self.family.options(self._arguments(len(texts)))
        return options

    @torch.no_grad()
    def _said(self, texts: Sequence[str]) -> Condition:
        condition: Condition = self.family.encode(self.pipe, texts, self._arguments(len(texts)))
        if "repetition" in self.family.offers:
            return condition
        rows = self.given.get("max_sequence_length") or UNPADDED
        return Condition(pad(condition.embeds, (0, 0, 0, rows - condition.embeds.shape[1])))

    def _arguments(self, count: int) -> dict[str, Any]:
        """A call's, as far as they decide how texts are encoded: its defaults, the family's, and what was given."""
        usual = inspect.signature(type(self.pipe).__call__).parameters
        defaults = {name: usual[name].default for name in self.family.encoding if name in usual}
        return {**defaults, **self.family.arguments(self.pipe, 1.0, count), **self.given}


class DrawingBench(TextBench):
    """An unguarded pipeline whose pictures, and whose latents on the way to them, a guard learns from.

    Raises:
        UnsupportedPipeline: no seam knows the pipeline.
        AlreadyAttached: it is guarded.
    """

    @property
    def denoiser(self) -> Any:
        """The U-Net, or the transformer."""
        return getattr(self.pipe, self.family.denoisers[0])

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        device: torch.device = self.denoiser.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """What the denoiser computes in."""
        dtype: torch.dtype = self.denoiser.dtype
        return dtype

    @property
    def identity(self) -> str:
        """Names the weights of text encoders, denoiser and autoencoder."""
        return "-".join([super().identity, *(self.base_of(name)[:12] for name in (self.family.denoisers[0], "vae"))])
