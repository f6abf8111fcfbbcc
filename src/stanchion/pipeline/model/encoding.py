"""What a guard may ask of the call that it guards: its device, and texts encoded as its prompt is."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ...errors import UnsupportedPipeline
from ...streams import TextStream
from ...types import Condition, Flagged, PromptEmbeds
from ..attach.guarded_class import CURRENT, unwrapped
from ..attach.turns import alone_with
from ..families.base import Family, Stream
from ..phrase_cache import PhraseCache, Phrases, identity_of
from .text_encoder import at_scale

SCALED = ("text_encoder", "text_encoder_2")  # of a pipeline's text encoders those whose adapters it scales


class Encoding:
    """The ``Call`` of one guarded call. Texts go round the text guards: a concept must stay what it says."""

    def __init__(self, pipe: Any, family: Family, arguments: Mapping[str, Any], book: PhraseCache) -> None:
        self.pipe, self.family, self.arguments = pipe, family, arguments
        self.book = book
        self.seen: Mapping[str, Flagged] = {}
        self.clip_skip: int | None = arguments.get("clip_skip")

    @cached_property
    def device(self) -> torch.device:
        """Where the denoiser runs."""
        return self.pipe._execution_device

    @property
    def dtype(self) -> torch.dtype:
        """What the denoiser computes in."""
        return unwrapped(self.pipe, self.family.denoisers[0]).dtype

    @property
    def offers(self) -> Sequence[str]:
        """What guards may need and the family has."""
        return self.family.offers

    def words(self, token_ids: Tensor, stream: TextStream | None = None) -> str:
        """(N,) token ids as text, without start, end and padding; ``stream`` says whose, where there are several."""
        tokenizer = getattr(self.pipe, stream.tokenizer if stream else self.family.reader)
        return tokenizer.decode(token_ids, skip_special_tokens=True).strip()

    def read(self, texts: Sequence[str]) -> PromptEmbeds:
        """(len(texts), L, D) states with their token ids.

        Raises:
            UnsupportedPipeline: the pipeline has no text encoder to encode a concept with.
        """
        known = self._known.prompts
        if (key := tuple(texts)) not in known:
            embeds = self.encode(texts).embeds
            with alone_with(*self.family.tokenizers_of(self.pipe)):
                ids, content = self.family.tokens(self.pipe, self._spoken(texts), embeds, self._options)
            known[key] = PromptEmbeds(embeds, ids, content, key, streams=self.family.streams(self.pipe))
        return known[key]

    @torch.no_grad()
    def read_ids(self, token_ids: Tensor, stream: TextStream | None = None) -> Tensor:
        """(N, L, D) states of (N, L) token ids, as ``encode_prompt`` makes them of its tokenizer's.

        ``stream`` says of which text encoder, where there are several.

        Raises:
            UnsupportedPipeline: the pipeline has no text encoder, or its family none that reads ids alone.
        """
        scaled = [unwrapped(self.pipe, name) for name in self.family.encoders if name in SCALED]
        with at_scale(scaled, self._options.get("lora_scale")):
            return self.family.read_ids(self.pipe, token_ids, self._options, (stream or TextStream()).name)

    def encode(self, texts: Sequence[str]) -> Condition:
        """(len(texts), L, D) states as a condition. Raises as ``read`` does."""
        known = self._known.conditions
        if (key := tuple(texts)) not in known:
            known[key] = self._encode(texts)
            if "words" in self.family.offers:
                with alone_with(*self.family.tokenizers_of(self.pipe)):
                    said = (self._spoken(texts[:1]), known[key].embeds[:1], self._options)
                    _warn_of_cuts(texts, self.family.token_streams(self.pipe, *said))
        return known[key]

    @property
    def negative_given(self) -> bool:
        """Whether the caller gave a negative prompt that says something."""
        given = (value for name, value in self.arguments.items() if name.startswith("negative_prompt"))
        return any(map(_says_something, given))

    @cached_property
    def _known(self) -> Phrases:
        parts = {name: unwrapped(self.pipe, name) for name in self.family.encoders}
        if missing := [name for name, part in parts.items() if part is None and name not in self.family.optional]:
            raise UnsupportedPipeline(
                f"the guard must encode its concept: keep {' and '.join(missing)} on the pipeline."
            )
        if self.family.pictured_texts:
            return Phrases()  # of this call alone
        encode = unwrapped(self.pipe, "encode_prompt")
        options = (self.family.options(self.arguments), id(getattr(encode, "__func__", encode)))
        return self.book.open(identity_of(*filter(None, parts.values()), options=options))

    def _spoken(self, texts: Sequence[str]) -> list[str]:
        return self.family.spoken(self.pipe, texts, self._options)

    @property
    def _options(self) -> dict[str, Any]:
        return self.family.options(self.arguments)

    def _encode(self, texts: Sequence[str]) -> Condition:
        token = CURRENT.set(None)  # the pipeline's own parts, not what stands for them in this call
        try:
            with torch.no_grad(), alone_with(*self.family.tokenizers_of(self.pipe)):
                return self.family.encode(self.pipe, texts, self.arguments)
        finally:
            CURRENT.reset(token)


def _says_something(value: Any) -> bool:
    """Texts that are not empty, or states."""
    if isinstance(value, list | tuple):
        return any(_says_something(one) for one in value)
    return bool(value) if isinstance(value, str) else value is not None


def own_tokens(tokenizer: Any, ids: Tensor) -> Tensor:
    """(B, L) bool, true between the start and the end of (B, L) token ids that came without their text.

    The end is the last one, before nothing but padding. End tokens that a text had last of all are padding to
    whoever reads the ids alone, and to the text encoder as well.
    """
    padding = (ids == tokenizer.pad_token_id).flip(1).cumprod(1).sum(1)
    end = ids.shape[1] - padding - int(tokenizer.pad_token_id != tokenizer.eos_token_id)
    place = torch.arange(ids.shape[1], device=ids.device)
    return (place > 0) & (place < end[:, None])


def _warn_of_cuts(texts: Sequence[str], streams: Sequence[Stream]) -> None:
    """Of texts whose end no tokenizer's part of the states holds; the streams, as wide for each, may be of one text."""
    cuts = [_cut(texts, one) for one in streams]
    for text, cut in zip(texts, map(min, zip(*cuts, strict=True)), strict=True):
        if cut > 0:
            limit = max(one.ids.shape[1] for one in streams)
            warnings.warn(
                f"the guard's text {text!r} is {cut} tokens longer than the {limit} that the text encoder "
                "reads; its end is cut off. Give fewer or shorter target phrases.",
                stacklevel=2,
            )


def _cut(texts: Sequence[str], one: Stream) -> list[int]:
    """How many tokens of each text are beyond the stream."""
    whole = one.tokenizer(list(texts), truncation=False, verbose=False).input_ids
    return [len(ids) - one.ids.shape[1] for ids in whole]
