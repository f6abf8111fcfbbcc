"""SDXL and its children: two text encoders side by side, a pooled vector, sizes as conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import UnsupportedPipeline
from ...streams import TextStream
from ...types import Condition
from ._needs import CLIP, GUIDED, PAST, POOLED
from ._tokens import padded_with, prompt_and_negative, stream
from ._unet import UNet
from .base import TEXT, Pass, Said, Stream


class StableDiffusionXL(UNet):
    """Turbo and Lightning are the same pipeline with other weights and schedulers, and without guidance.

    Both tokenizers have the same words: the states of a token stand in the same row, one encoder's beside the other's.
    """

    name = "stable_diffusion_xl"
    title = "Stable Diffusion XL"
    classes = (
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionXLInpaintPipeline",
        "StableDiffusionXLControlNetPipeline",
        "StableDiffusionXLControlNetImg2ImgPipeline",
        "StableDiffusionXLControlNetInpaintPipeline",
    )
    encoders = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    offers = (*CLIP, "maps")
    added: ClassVar[tuple[str, ...]] = ("text_embeds", "time_ids")  # inside added_cond_kwargs
    conditions = (TEXT, *added, *UNet.residuals)
    pooled = "text_embeds"
    variants: ClassVar[Mapping[str, str]] = {"text": POOLED, "attention": PAST, "trajectory": GUIDED}
    takes: ClassVar[Mapping[str, str]] = {"addition_embed_type": "text_time"}

    def check_parts(self, pipe: Any) -> None:
        if pipe.text_encoder is None and pipe.text_encoder_2 is not None:
            raise UnsupportedPipeline("a refiner has one text encoder, and no seam reads its prompts.")

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, _, pooled, _ = pipe.encode_prompt(
            list(texts), do_classifier_free_guidance=False, **self.options(arguments)
        )
        return Condition(states, {"text_embeds": pooled})  # sizes stay the prompt's

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments, pooled=(2, 3))

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        return (TextStream(bases=("text_encoder", "text_encoder_2")),)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        return [stream(pipe, pipe.tokenizer, texts, states.shape[1], device=states.device)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        layer = -2 - (options.get("clip_skip") or 0)
        other = padded_with(ids, pipe.tokenizer, pipe.tokenizer_2.pad_token_id)
        read = ((pipe.text_encoder, ids), (pipe.text_encoder_2, other))
        return torch.cat([encoder(own, output_hidden_states=True).hidden_states[layer] for encoder, own in read], -1)

    def bind(self, denoiser: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pass:
        one = super().bind(denoiser, args, kwargs)
        one.inputs.update(one.inputs.pop("added_cond_kwargs", None) or {})
        return one

    def unbind(self, one: Pass) -> dict[str, Any]:
        own = {name: value for name, value in one.inputs.items() if name not in self.added}
        return {**own, "added_cond_kwargs": {name: one.inputs[name] for name in self.added}}
