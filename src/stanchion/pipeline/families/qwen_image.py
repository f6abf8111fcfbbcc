"""Qwen-Image: a language model's states of a chat template, of which the beginning is dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...streams import TextStream
from ...types import Condition
from ._blocks.qwen import QwenBlocks
from ._tokens import beginning, framed, reading
from .base import Stream


class QwenImage(QwenBlocks):
    """Texts are padded to the longest of a batch."""

    name = "qwen_image"
    title = "Qwen-Image"
    classes = ("QwenImagePipeline", "QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline")
    offers = ("text", "words", "token_ids", "streams", "maps")
    parts: ClassVar[Mapping[str, str]] = {"qwen_image": "text_encoder"}

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, mask = pipe.encode_prompt(list(texts), **self.options(arguments))
        return Condition(states, {"encoder_hidden_states_mask": mask})

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        """Of the template's beginning, by count, no states are left; the rest of it stands around the prompt's own."""
        first = beginning(pipe.tokenizer, _frame(pipe), pipe.prompt_template_encode_start_idx)
        return (TextStream("qwen_image", first=first, normed=True, bases=("qwen_image",)),)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        left_out = pipe.prompt_template_encode_start_idx
        return [framed(pipe.tokenizer, _frame(pipe), texts, states.shape[1], device=states.device, left_out=left_out)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        left_out = pipe.prompt_template_encode_start_idx
        start = torch.tensor(pipe.tokenizer(_frame(pipe)[0]).input_ids[:left_out], device=ids.device)
        whole = torch.cat([start.expand(len(ids), -1), ids], 1)
        mask = reading(whole, pipe.tokenizer.pad_token_id)
        read = pipe.text_encoder(input_ids=whole, attention_mask=mask, output_hidden_states=True)
        states: Tensor = (read.hidden_states[-1] * mask[..., None])[:, left_out:]
        return states


def _frame(pipe: Any) -> tuple[str, str]:
    before, _, after = pipe.prompt_template_encode.partition("{}")
    return before, after
