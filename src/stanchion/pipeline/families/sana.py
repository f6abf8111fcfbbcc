"""Sana: one language model's states with a mask, cross-attention, linear attention over the picture, flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...types import Condition
from ._needs import FLOW
from ._tokens import prompt_and_negative
from .base import TEXT, Family, Pass, Said


class Sana(Family):
    """[negative; prompt] in one pass; the mask is a condition of its own."""

    name = "sana"
    title = "Sana"
    classes = ("SanaPipeline",)
    encoding = ("max_sequence_length", "complex_human_instruction")
    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    conditions = (TEXT, "encoder_attention_mask")
    offers = ("padded_text",)
    instructions = ("complex_human_instruction",)

    def time(self, one: Pass, denoiser: Any) -> float:
        return super().time(one, denoiser) / denoiser.config.timestep_scale

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, mask, *_ = pipe.encode_prompt(list(texts), do_classifier_free_guidance=False, **self.options(arguments))
        return Condition(states, {"encoder_attention_mask": mask})

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments, negative=2)

    def blank(self, one: Pass, denoiser: Any) -> Tensor:
        sample = one.inputs["hidden_states"]
        return torch.ones_like(sample[:, :1]).repeat(1, denoiser.config.out_channels, 1, 1)
