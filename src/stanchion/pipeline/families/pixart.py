"""PixArt-Σ: T5 states with a mask, cross-attention, noise with a learned variance beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers.utils import is_bs4_available, is_ftfy_available
from torch import Tensor

from ...streams import TextStream
from ...types import Condition
from ..noise.vp import VariancePreserving
from ._needs import GUIDED
from ._tokens import prompt_and_negative, stream, t5_states, t5_stream
from .base import TEXT, Family, Pass, Said, Stream


class PixArt(Family):
    """[negative; prompt] in one pass; the variance is cut off, as the pipeline does."""

    name = "pixart"
    title = "PixArt"
    classes = ("PixArtSigmaPipeline",)
    process = VariancePreserving
    encoding = ("max_sequence_length", "clean_caption")
    offers = ("text", "words", "repetition", "token_ids", "streams", "padded_text", "maps")
    parts: ClassVar[Mapping[str, str]] = {"t5_masked": "text_encoder"}
    variants: ClassVar[Mapping[str, str]] = {"trajectory": GUIDED}
    conditions = (TEXT, "encoder_attention_mask")
    inputs = ("added_cond_kwargs",)

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Sizes alone, and no model that was trained on them has Σ's pipeline."""
        added = {name: value for name, value in (inputs.get("added_cond_kwargs") or {}).items() if value is not None}
        super().check_inputs({**inputs, **added})

    def scale(self, pipe: Any, arguments: Mapping[str, Any], roles: Mapping[str, Any], timestep: float) -> float:
        return float(arguments["guidance_scale"]) if "negative" in roles else 1.0

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, mask, *_ = pipe.encode_prompt(list(texts), do_classifier_free_guidance=False, **self.options(arguments))
        return Condition(states, {"encoder_attention_mask": mask})

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments, negative=2)

    def spoken(self, pipe: Any, texts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        """In small letters, and cleaned of HTML where that is asked for and there is something to do it with."""
        clean = options.get("clean_caption", False) and is_bs4_available() and is_ftfy_available()
        spoken: list[str] = pipe._text_preprocessing(list(texts), clean_caption=clean)
        return spoken

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        return (t5_stream("t5_masked"),)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        return [stream(pipe, pipe.tokenizer, texts, states.shape[1], device=states.device)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        return t5_states(pipe.text_encoder, ids, stream)

    def blank(self, one: Pass, denoiser: Any) -> Tensor:
        sample = one.inputs["hidden_states"]
        return torch.ones_like(sample[:, :1]).repeat(1, denoiser.config.out_channels, 1, 1)
