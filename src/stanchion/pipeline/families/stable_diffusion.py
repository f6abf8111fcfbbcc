"""Stable Diffusion 1.x and 2.x: one text encoder, cross-attention, [negative; prompt] in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ...errors import UnsupportedPipeline
from ...types import Condition
from ._needs import CLIP
from ._tokens import prompt_and_negative, stream
from ._trainable import TrainableUNet
from ._unet import UNet
from .base import Said, Stream


class StableDiffusion(TrainableUNet, UNet):
    """2.x predicts velocity. Without guidance, trajectory guards predict what they need by themselves."""

    name = "stable_diffusion"
    title = "Stable Diffusion 1.x, 2.x"
    classes = (
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
        "StableDiffusionControlNetPipeline",
        "StableDiffusionControlNetImg2ImgPipeline",
        "StableDiffusionControlNetInpaintPipeline",
    )
    offers = (*CLIP, "maps", "training")

    unguided = True

    def guided(self, pipe: Any, arguments: Mapping[str, Any]) -> bool:
        return True

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, _ = pipe.encode_prompt(list(texts), pipe._execution_device, 1, False, **self.options(arguments))
        return Condition(states)

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        return [stream(pipe, pipe.tokenizer, texts, states.shape[1], device=states.device)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        encoder = pipe.text_encoder
        if encoder is None:
            raise UnsupportedPipeline("the guard must encode token ids: keep text_encoder on the pipeline.")
        if (clip_skip := options.get("clip_skip")) is None:
            return encoder(ids)[0]
        hidden = encoder(ids, output_hidden_states=True).hidden_states[-(clip_skip + 1)]
        return getattr(encoder, "text_model", encoder).final_layer_norm(hidden)
