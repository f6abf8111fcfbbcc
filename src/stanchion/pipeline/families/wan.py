"""Wan 2.1 and 2.2: T5 states, cross-attention, video latents, and two denoisers that share the schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

from torch import Tensor

from ...streams import TextStream
from ...types import Condition
from ._needs import FLOW
from ._tokens import prompt_and_negative, stream, t5_states, t5_stream
from .base import Family, Said, Stream


class Wan(Family):
    """Each denoiser has a guidance scale of its own; which one is due, the timestep says."""

    name = "wan"
    title = "Wan"
    classes = ("WanPipeline",)
    denoisers = ("transformer", "transformer_2")
    encoding = ("max_sequence_length",)
    unrepeated = "num_videos_per_prompt"
    offers = ("text", "words", "repetition", "token_ids", "streams")
    parts: ClassVar[Mapping[str, str]] = {"t5_zeroed": "text_encoder"}
    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    halves = ("prompt",)

    def refuses(self, kind: str) -> Mapping[str, str]:
        """Output guards look at pictures; and an attention guard's tensors name layers, not which denoiser's."""
        return {
            "output": "it gives videos, and output guards look at single pictures",
            "padded_text": "it may have two denoisers, and the guard's adapter belongs to one",
        }

    def scale(self, pipe: Any, arguments: Mapping[str, Any], roles: Mapping[str, Any], timestep: float) -> float:
        if "negative" not in roles:
            return 1.0
        boundary = (pipe.config.boundary_ratio or 0.0) * pipe.scheduler.config.num_train_timesteps
        late = timestep < boundary and arguments["guidance_scale_2"] is not None
        return float(arguments["guidance_scale_2" if late else "guidance_scale"])

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, _ = pipe.encode_prompt(list(texts), do_classifier_free_guidance=False, **self.options(arguments))
        return Condition(states)

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments)

    def spoken(self, pipe: Any, texts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        """HTML's entities and white space are resolved first: ``&#107;nife`` is read as a knife."""
        clean = import_module("diffusers.pipelines.wan.pipeline_wan").prompt_clean
        return [clean(text) for text in texts]

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        return (t5_stream("t5_zeroed"),)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        return [stream(pipe, pipe.tokenizer, texts, states.shape[1], device=states.device)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        return t5_states(pipe.text_encoder, ids, stream)
