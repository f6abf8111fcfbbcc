"""AuraFlow: T5 states in joint blocks, then single ones, [negative; prompt] in one pass, flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from ...types import Condition
from ._needs import FLOW
from ._tokens import prompt_and_negative, stream
from .base import Family, Said, Stream


class AuraFlow(Family):
    """Padding is zeroed in the states themselves, so that no mask reaches the denoiser."""

    name = "aura_flow"
    title = "AuraFlow"
    classes = ("AuraFlowPipeline",)
    encoding = ("max_sequence_length",)
    offers = ("text", "words")
    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    time_scale = 1000.0

    def refuses(self, kind: str) -> Mapping[str, str]:
        """Its single blocks read text as well, and their rows of text were not looked for."""
        return {"attention": "its single blocks project text and picture together, and their text rows are not known"}

    def scale(self, pipe: Any, arguments: Mapping[str, Any], roles: Mapping[str, Any], timestep: float) -> float:
        return float(arguments["guidance_scale"]) if "negative" in roles else 1.0

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, *_ = pipe.encode_prompt(list(texts), do_classifier_free_guidance=False, **self.options(arguments))
        return Condition(states)

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments, negative=2)

    def token_streams(self, pipe: Any, texts: Sequence[str], states: Tensor) -> list[Stream]:
        return [stream(pipe, pipe.tokenizer, texts, states.shape[1], device=states.device)]
