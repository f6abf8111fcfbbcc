"""Sana: one language model's states with a mask, cross-attention, linear attention over the picture, flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ...streams import TextStream
from ...types import Condition
from ._needs import FLOW
from ._tokens import beginning, framed, prompt_and_negative, reading
from .base import TEXT, Family, Pass, Said, Stream


class _Instruction(NamedTuple):
    """What is told before a prompt, its token ids, and how many of its states are left out behind the first."""

    text: str
    ids: list[int]
    left_out: int


class Sana(Family):
    """[negative; prompt] in one pass; the mask is a condition of its own."""

    name = "sana"
    title = "Sana"
    classes = ("SanaPipeline",)
    encoding = ("max_sequence_length", "complex_human_instruction", "clean_caption")
    scaled_by = "attention_kwargs"
    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    conditions = (TEXT, "encoder_attention_mask")
    offers = ("text", "words", "repetition", "token_ids", "streams", "padded_text", "maps")
    parts: ClassVar[Mapping[str, str]] = {"sana": "text_encoder"}
    instructions = ("complex_human_instruction",)

    def time(self, one: Pass, denoiser: Any) -> float:
        return super().time(one, denoiser) / denoiser.config.timestep_scale

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, mask, *_ = pipe.encode_prompt(list(texts), do_classifier_free_guidance=False, **self.options(arguments))
        return Condition(states, {"encoder_attention_mask": mask})

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        """No instruction stands before a negative prompt: where its words are is not looked for."""
        return [
            said._replace(texts=None) if said.role == "negative" else said
            for said in prompt_and_negative(outputs, arguments, negative=2)
        ]

    def spoken(self, pipe: Any, texts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        """In small letters, and cleaned of HTML where that is asked for."""
        spoken: list[str] = pipe._text_preprocessing(list(texts), clean_caption=options.get("clean_caption", False))
        return spoken

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        """Behind the start token is what is left of the instruction: nothing, or a space."""
        return (TextStream("sana", first=beginning(pipe.tokenizer, ("", "")), bases=("sana",)),)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        """Of all states the first is kept, and as many of the last as a prompt without instruction has."""
        told, rows = _instruction(pipe, options), states.shape[1]
        whole = framed(pipe.tokenizer, (told.text, ""), texts, told.left_out + rows, device=states.device)
        ids, content = (torch.cat([one[:, :1], one[:, 1 + told.left_out :]], 1) for one in (whole.ids, whole.content))
        return [whole._replace(ids=ids, content=content)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        told = _instruction(pipe, options)
        between = torch.tensor(told.ids[1 : 1 + told.left_out], device=ids.device, dtype=ids.dtype)
        whole = torch.cat([ids[:, :1], between.expand(len(ids), -1), ids[:, 1:]], 1)
        states = pipe.text_encoder(whole, attention_mask=reading(whole, pipe.tokenizer.pad_token_id))[0]
        return torch.cat([states[:, :1], states[:, 1 + told.left_out :]], 1)

    def blank(self, one: Pass, denoiser: Any) -> Tensor:
        sample = one.inputs["hidden_states"]
        return torch.ones_like(sample[:, :1]).repeat(1, denoiser.config.out_channels, 1, 1)


def _instruction(pipe: Any, options: Mapping[str, Any]) -> _Instruction:
    text = "\n".join(options.get("complex_human_instruction") or ())
    ids: list[int] = pipe.tokenizer(text).input_ids if text else []
    return _Instruction(text, ids, max(len(ids) - 2, 0))
