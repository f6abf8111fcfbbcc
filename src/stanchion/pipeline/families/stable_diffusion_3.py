"""Stable Diffusion 3 and 3.5: CLIP and T5 states one behind the other, a pooled vector, joint attention, flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import diffusers
import torch
from torch import Tensor
from torch.nn.functional import pad

from ...streams import TextStream
from ...types import Condition
from ._needs import FLOW, PAST, POOLED
from ._tokens import padded_with, prompt_and_negative, stream, t5_states, t5_stream
from .base import TEXT, Family, Pass, Place, Said, Stream


class StableDiffusion3(Family):
    """The first 77 rows are CLIP's, padded to T5's width; T5's follow, or zeros where there is no T5."""

    name = "stable_diffusion_3"
    title = "Stable Diffusion 3, 3.5"
    classes = ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline")
    encoders = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")
    optional = ("text_encoder_3", "tokenizer_3")
    encoding = ("clip_skip", "max_sequence_length")
    scaled_by = "joint_attention_kwargs"
    offers = ("text", "words", "repetition", "token_ids", "streams", "padded_text", "padding_read", "maps")
    parts: ClassVar[Mapping[str, str]] = {"clip_l": "text_encoder", "clip_g": "text_encoder_2", "t5": "text_encoder_3"}
    conditions = (TEXT, "pooled_projections")
    pooled = "pooled_projections"
    variants: ClassVar[Mapping[str, str]] = {"text": POOLED, "attention": PAST, "trajectory": FLOW}
    refused: ClassVar[Mapping[str, str]] = {
        **Family.refused,
        "skip_guidance_layers": "its third prediction goes round the guards",
    }

    def of(self, pipe: Any) -> StableDiffusion3:
        return SD3Inpaint() if isinstance(pipe, diffusers.StableDiffusion3InpaintPipeline) else self

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        three = [list(texts)] * 3
        states, _, pooled, _ = pipe.encode_prompt(*three, do_classifier_free_guidance=False, **self.options(arguments))
        return Condition(states, {"pooled_projections": pooled})

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments, pooled=(2, 3))

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        """Both CLIPs have the same tokens, and the same rows: one's columns stand beside the other's."""
        if pipe.text_encoder is None or pipe.text_encoder_2 is None:
            return super().streams(pipe)  # for which no guard of several was trained
        rows, tokenizers = (0, pipe.tokenizer_max_length), ("tokenizer", "tokenizer_2")
        first, second = (getattr(pipe, name).config.hidden_size for name in ("text_encoder", "text_encoder_2"))
        columns = {"clip_l": (0, first), "clip_g": (first, first + second)}
        clips = (
            TextStream(name, rows, columns[name], tokenizer=tokenizer, bases=(name,))
            for name, tokenizer in zip(columns, tokenizers, strict=True)
        )
        rest = t5_stream(rows=(rows[1], None), tokenizer="tokenizer_3")
        return (*clips, *([] if pipe.text_encoder_3 is None else [rest]))

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        first, device = pipe.tokenizer_max_length, states.device
        clip, rest = stream(pipe, pipe.tokenizer, texts, first, device=device), states.shape[1] - first
        if pipe.text_encoder_3 is None:
            ids, content = (pad(one, (0, rest)) for one in (clip.ids, clip.content))
            return [clip._replace(ids=ids, content=content)]
        return [clip, stream(pipe, pipe.tokenizer_3, texts, rest, device=device, start=first)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        encoder = getattr(pipe, self.parts[stream])
        if stream == "t5":
            return t5_states(encoder, ids, stream)
        if stream == "clip_g":
            ids = padded_with(ids, pipe.tokenizer, pipe.tokenizer_2.pad_token_id)
        states: Tensor = encoder(ids, output_hidden_states=True).hidden_states[-2 - (options.get("clip_skip") or 0)]
        return states

    def blank(self, one: Pass, denoiser: Any) -> Tensor:
        return torch.ones_like(one.inputs["hidden_states"][:, : denoiser.config.out_channels])

    def text_projections(self, denoiser: Any, which: Sequence[str]) -> list[Place]:
        """SD3.5-medium's ``attn2`` attends within the picture, and holds no text."""
        return [place for place in super().text_projections(denoiser, which) if not place.layer.endswith("attn2")]


class SD3Inpaint(StableDiffusion3):
    """Takes an adapter's scale for its denoiser, and encodes its prompts without it."""

    scaled_by = ""
