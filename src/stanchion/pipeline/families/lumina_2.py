"""Lumina 2: a language model's states in a single stream, two passes, the prediction's sign turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from ...streams import TextStream
from ...types import Condition
from ._needs import FLOW
from ._tokens import beginning, framed, prompt_and_negative, reading
from .base import TEXT, Family, Pass, Said, Stream


class Lumina2(Family):
    """Its time runs from 0, noise, to 1; the guided prediction has the prompt's norm where the caller asks for it."""

    name = "lumina_2"
    title = "Lumina 2"
    classes = ("Lumina2Pipeline",)
    encoding = ("max_sequence_length", "system_prompt")
    offers = ("text", "words", "repetition", "token_ids", "streams", "maps")
    parts: ClassVar[Mapping[str, str]] = {"lumina_2": "text_encoder"}
    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    conditions = (TEXT, "encoder_attention_mask")
    halves = ("prompt",)
    instructions = ("system_prompt",)

    def refuses(self, kind: str) -> Mapping[str, str]:
        """Where its text rows are, nobody could say of a batch."""
        return {"attention": "captions of a batch are packed by their own lengths, so text rows differ from row to row"}

    def time(self, one: Pass, denoiser: Any) -> float:
        return 1000.0 - 1000.0 * float(one.inputs["timestep"].flatten()[0])

    def scale(self, pipe: Any, arguments: Mapping[str, Any], roles: Mapping[str, Any], timestep: float) -> float:
        return float(arguments["guidance_scale"]) if "negative" in roles else 1.0

    def finish(self, pipe: Any, arguments: Mapping[str, Any], guided: Tensor, prompt: Tensor) -> Tensor:
        if not arguments["cfg_normalization"]:
            return guided
        return guided * (prompt.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, mask, *_ = pipe.encode_prompt(list(texts), do_classifier_free_guidance=False, **self.options(arguments))
        return Condition(states, {"encoder_attention_mask": mask})

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        """No system prompt stands before a negative one: where its words are is not looked for."""
        return [
            said._replace(texts=None) if said.role == "negative" else said
            for said in prompt_and_negative(outputs, arguments, negative=2)
        ]

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        first = beginning(pipe.tokenizer, _frame(pipe, {}))
        return (TextStream("lumina_2", first=first, normed=True, bases=("lumina_2",)),)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        return [framed(pipe.tokenizer, _frame(pipe, options), texts, states.shape[1], device=states.device)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        mask = reading(ids, pipe.tokenizer.pad_token_id)
        states: Tensor = pipe.text_encoder(ids, attention_mask=mask, output_hidden_states=True).hidden_states[-2]
        return states

    def outputs(self, answer: Any, latents: Tensor, count: int) -> list[Tensor]:
        return [-output for output in super().outputs(answer, latents, count)]


def _frame(pipe: Any, options: Mapping[str, Any]) -> tuple[str, str]:
    told = options.get("system_prompt")
    return f"{pipe.system_prompt if told is None else told} <Prompt Start> ", ""
