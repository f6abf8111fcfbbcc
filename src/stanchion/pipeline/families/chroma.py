"""Chroma: FLUX.1's blocks without the pooled vector, true guidance, and a mask over text and picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...streams import TextStream
from ...types import Condition
from ._flux_blocks import FluxBlocks
from ._needs import FLOW
from ._tokens import prompt_and_negative, stream, t5_states, t5_stream
from .base import TEXT, Pass, Said, Stream


class Chroma(FluxBlocks):
    """The mask covers the text, padding but one row left out, and behind it the picture, none of it left out."""

    name = "chroma"
    title = "Chroma"
    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    classes = ("ChromaPipeline", "ChromaImg2ImgPipeline")
    encoding = ("max_sequence_length",)
    scaled_by = "joint_attention_kwargs"
    offers = ("text", "words", "repetition", "token_ids", "streams", "padded_text", "maps")
    parts: ClassVar[Mapping[str, str]] = {"t5_masked": "text_encoder"}
    conditions = (TEXT, "attention_mask")

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, _, mask, *_ = pipe.encode_prompt(
            list(texts), do_classifier_free_guidance=False, **self.options(arguments)
        )
        return Condition(states, {"attention_mask": mask})

    def put(self, one: Pass, conditions: Sequence[Condition], *given: Any, **more: Any) -> Pass:
        """A concept's mask, which covers its text alone, gets the picture's part from the prompt's."""
        whole = one.inputs["attention_mask"]
        picture = whole.shape[1] - one.inputs[TEXT].shape[1]

        def completed(condition: Condition) -> Condition:
            mask = condition.extra["attention_mask"]
            if mask.shape[1] != condition.embeds.shape[1]:
                return condition
            ones = mask.new_ones(len(mask), picture)
            return Condition(condition.embeds, {"attention_mask": torch.cat([mask, ones], 1)})

        return super().put(one, [completed(condition) for condition in conditions], *given, **more)

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments, negative=3)

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        return (t5_stream("t5_masked"),)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        return [stream(pipe, pipe.tokenizer, texts, states.shape[1], device=states.device)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        return t5_states(pipe.text_encoder, ids, stream)
