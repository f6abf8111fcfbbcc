"""AuraFlow: T5 states in joint blocks, then single ones, [negative; prompt] in one pass, flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from ...streams import TextStream
from ...types import Condition
from ._needs import FLOW
from ._tokens import prompt_and_negative, stream, t5_states, t5_stream
from .base import Family, Place, Said, Stream

REGISTERS = 8  # learned rows before the text, in every block


class AuraFlow(Family):
    """Padding is zeroed in the states themselves, so that no mask reaches the denoiser."""

    name = "aura_flow"
    title = "AuraFlow"
    classes = ("AuraFlowPipeline",)
    encoding = ("max_sequence_length",)
    scaled_by = "attention_kwargs"
    offers = ("text", "words", "repetition", "token_ids", "streams", "padded_text", "padding_read", "maps")
    parts: ClassVar[Mapping[str, str]] = {"t5_zeroed": "text_encoder"}
    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    time_scale = 1000.0

    def scale(self, pipe: Any, arguments: Mapping[str, Any], roles: Mapping[str, Any], timestep: float) -> float:
        return float(arguments["guidance_scale"]) if "negative" in roles else 1.0

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, *_ = pipe.encode_prompt(list(texts), do_classifier_free_guidance=False, **self.options(arguments))
        return Condition(states)

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments, negative=2)

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        return (t5_stream("t5_zeroed"),)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        return [stream(pipe, pipe.tokenizer, texts, states.shape[1], device=states.device)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        return t5_states(pipe.text_encoder, ids, stream)

    def text_projections(self, denoiser: Any, which: Sequence[str]) -> list[Place]:
        """Joint blocks project [registers; text], single ones [registers; text; picture]."""
        joint = [place._replace(rows="last") for place in super().text_projections(denoiser, which)]
        single = [
            Place(f"single_transformer_blocks.{i}.attn", one, getattr(block.attn, f"to_{one}"), "first", once=False)
            for i, block in enumerate(denoiser.single_transformer_blocks)
            for one in which
        ]
        return joint + single

    def text_rows(self, place: Place, inputs: Mapping[str, Any]) -> slice:
        rows = super().text_rows(place, inputs)
        return rows if place.rows == "last" else slice(REGISTERS, REGISTERS + rows.stop)
