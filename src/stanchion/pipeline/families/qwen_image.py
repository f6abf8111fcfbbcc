"""Qwen-Image: a language model's states with a mask, two passes, a guided prediction of the prompt's norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...streams import TextStream
from ...types import Condition
from ._needs import FLOW
from ._tokens import beginning, framed, reading
from .base import TEXT, Family, Pass, Stream


class QwenImage(Family):
    """A mask of None means that every row is text, and is no missing mask."""

    name = "qwen_image"
    title = "Qwen-Image"
    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    classes = ("QwenImagePipeline", "QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline")
    encoding = ("max_sequence_length",)
    offers = ("text", "words", "token_ids", "streams")
    parts: ClassVar[Mapping[str, str]] = {"qwen_image": "text_encoder"}
    conditions = (TEXT, "encoder_hidden_states_mask")
    rowed = ("timestep", "guidance")
    halves = ("prompt",)
    time_scale = 1000.0
    inputs = ("img_shapes",)
    guidance = "give true_cfg_scale above 1 and a negative_prompt (' ' will do)"

    def guided(self, pipe: Any, arguments: Mapping[str, Any]) -> bool:
        given = (arguments.get(name) for name in ("negative_prompt", "negative_prompt_embeds"))
        return float(arguments.get("true_cfg_scale") or 1.0) > 1.0 and any(one is not None for one in given)

    def scale(self, pipe: Any, arguments: Mapping[str, Any], roles: Mapping[str, Any], timestep: float) -> float:
        return float(arguments["true_cfg_scale"]) if "negative" in roles else 1.0

    def finish(self, pipe: Any, arguments: Mapping[str, Any], guided: Tensor, prompt: Tensor) -> Tensor:
        return guided * (prompt.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))

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

    def put(self, one: Pass, conditions: Sequence[Condition], sample: Tensor, rows: Tensor | None = None) -> Pass:
        made = super().put(one, conditions, sample, rows)
        made.inputs["img_shapes"] = one.inputs["img_shapes"][: len(sample)] * len(conditions)
        return made

    def fits_together(self, first: Condition, second: Condition) -> bool:
        """Texts are padded to the longest of their batch; alone they are not."""
        return False


def _frame(pipe: Any) -> tuple[str, str]:
    before, _, after = pipe.prompt_template_encode.partition("{}")
    return before, after
