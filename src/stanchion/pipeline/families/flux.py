"""FLUX.1: T5 states, a pooled CLIP vector, double and single blocks, packed latents, guidance distilled or true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import CLIPTextModel

from ...streams import TextStream
from ...types import Condition
from ._flux_blocks import FluxBlocks
from ._needs import CLIP, FLOW, PAST, POOLED
from ._tokens import check_read_whole, stream, t5_states, t5_stream
from ._trainable import TrainableFlux
from .base import TEXT, Said, Stream


class Flux(FluxBlocks):
    """With ``true_cfg_scale`` above 1 and a negative prompt there are two passes, the prompt's first; else one."""

    name = "flux"
    title = "FLUX.1"
    classes = ("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline", "FluxKontextPipeline", "FluxFillPipeline")
    encoders = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    encoding = ("max_sequence_length",)
    scaled_by = "joint_attention_kwargs"
    unrepeated = "num_images_per_prompt"
    reader = "tokenizer_2"
    offers: ClassVar[tuple[str, ...]] = (
        "text",
        "words",
        "repetition",
        "token_ids",
        "streams",
        "padded_text",
        "padding_read",
        "maps",
    )
    parts: ClassVar[Mapping[str, str]] = {"t5": "text_encoder_2"}
    conditions = (TEXT, "pooled_projections")
    pooled = "pooled_projections"
    variants: ClassVar[Mapping[str, str]] = {"text": POOLED, "attention": PAST, "trajectory": FLOW}
    guidance = "give true_cfg_scale above 1 and a negative_prompt ('' will do)"
    states_of = "text_encoder_2"

    def of(self, pipe: Any) -> Flux:
        """One CLIP in both places says more than T5 does."""
        return FluxOnClip() if _on_clip(pipe) else self

    def refuses(self, kind: str) -> Mapping[str, str]:
        """Fill has no second prediction to give."""
        why = "its guidance is distilled, and what a guard does to such predictions was never measured"
        return {"trajectory": why} if kind == "FluxFillPipeline" else {}

    def guided(self, pipe: Any, arguments: Mapping[str, Any]) -> bool:
        given = (arguments.get(name) for name in ("negative_prompt", "negative_prompt_embeds"))
        return float(arguments.get("true_cfg_scale") or 1.0) > 1.0 and any(one is not None for one in given)

    def scale(self, pipe: Any, arguments: Mapping[str, Any], roles: Mapping[str, Any], timestep: float) -> float:
        return float(arguments["true_cfg_scale"]) if "negative" in roles else 1.0

    def check_call(self, pipe: Any, arguments: Mapping[str, Any], guards: Sequence[Any] = (), reader: str = "") -> None:
        """Also a prompt whose end only the pooled vector knows."""
        super().check_call(pipe, arguments, guards, reader)
        prompt = arguments.get("prompt")
        if reader and prompt is not None:
            texts, window = [prompt] if isinstance(prompt, str) else prompt, arguments["max_sequence_length"]
            check_read_whole(pipe.tokenizer_2, window, pipe.tokenizer, texts)

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, pooled, _ = pipe.encode_prompt(list(texts), None, **self.options(arguments))
        return Condition(states, {"pooled_projections": pooled})

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        texts = None if arguments["prompt_embeds"] is not None else arguments["prompt_2"] or arguments["prompt"]
        return [Said("negative" if calls else "prompt", 0, texts, 1)]

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        return (t5_stream(tokenizer="tokenizer_2"),)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        return [stream(pipe, pipe.tokenizer_2, texts, states.shape[1], device=states.device)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        return t5_states(pipe.text_encoder_2, ids, stream)


class FluxOnClip(TrainableFlux, Flux):
    """FLUX on the states of one CLIP, which gives the pooled vector too, and without distilled guidance: a small one.

    Such is the reference FLUX. Its text is known token by token, so every text guard can read it.
    """

    title = "FLUX.1 on one CLIP"
    offers = (*CLIP, "maps", "training")

    def arguments(self, pipe: Any, guidance_scale: float, count: int) -> dict[str, Any]:
        """True guidance by the empty prompt, and no more rows of text than CLIP has places."""
        places = pipe.text_encoder_2.config.max_position_embeddings
        return {"true_cfg_scale": guidance_scale, "negative_prompt": [""] * count, "max_sequence_length": places}

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        return (TextStream(),)

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        states: Tensor = pipe.text_encoder_2(ids)[0]
        return states


def _on_clip(pipe: Any) -> bool:
    """Whether both text encoders are CLIP's of the same weights, and guidance is none of the transformer's inputs."""
    first, second = (vars(pipe).get(name) for name in ("text_encoder", "text_encoder_2"))
    if not (isinstance(first, CLIPTextModel) and isinstance(second, CLIPTextModel)):
        return False
    if pipe.transformer is not None and pipe.transformer.config.guidance_embeds:
        return False
    if first is second:
        return True
    own, other = first.state_dict(), second.state_dict()
    return own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)
