"""FLUX.2's transformer: states of a language model in a chat template, fused single blocks, packed latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ....errors import UnsupportedPipeline
from ....streams import TextStream
from ....types import Condition
from .._needs import FLOW
from .._tokens import beginning, framed, reading
from ..base import TEXT, Family, Pass, Place, Said, Stream


class Flux2Blocks(Family):
    """A concept is encoded within the same template as a prompt.

    Attributes:
        layers: of the text encoder, whose states a call takes that names none.
        special: whether the tokenizer adds tokens of its own to the template's.
    """

    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    encoding = ("max_sequence_length", "text_encoder_out_layers")
    offers = ("text", "words", "repetition", "token_ids", "streams", "padded_text", "padding_read", "maps")
    conditions = (TEXT, "txt_ids")
    rowed = ("timestep", "guidance", "img_ids")
    halves = ("prompt",)
    time_scale = 1000.0
    refused: ClassVar[Mapping[str, str]] = {**Family.refused, "image": "no guard was tried on its editing"}
    layers: ClassVar[tuple[int, ...]]
    special: ClassVar[bool] = True

    def frame(self, pipe: Any) -> tuple[str, str]:
        """What stands before and behind a prompt."""
        raise NotImplementedError

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, places = pipe.encode_prompt(list(texts), **self.options(arguments))
        return Condition(states, {"txt_ids": places})

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return [Said("negative" if calls else "prompt", 0, arguments["prompt"])]

    def streams(self, pipe: Any) -> tuple[TextStream, ...]:
        (tokenizer,), frame = self.tokenizers_of(pipe), self.frame(pipe)
        if tokenizer.padding_side != "right":
            raise UnsupportedPipeline(
                f"the tokenizer pads from the {tokenizer.padding_side}, so a prompt begins in another row each time, "
                "which no guard of text states knows."
            )
        first = beginning(tokenizer, frame, special=self.special)
        behind = len(tokenizer(frame[1], add_special_tokens=self.special).input_ids)
        return (TextStream(self.name, first=first, behind=behind, bases=(self.name,)),)

    def token_streams(
        self, pipe: Any, texts: Sequence[str], states: Tensor, options: Mapping[str, Any]
    ) -> list[Stream]:
        (tokenizer,), frame = self.tokenizers_of(pipe), self.frame(pipe)
        how = {"special": self.special, "side": tokenizer.padding_side}
        return [framed(tokenizer, frame, texts, states.shape[1], device=states.device, **how)]

    def read_ids(self, pipe: Any, ids: Tensor, options: Mapping[str, Any], stream: str) -> Tensor:
        how = {"attention_mask": reading(ids, self.tokenizers_of(pipe)[0].pad_token_id), "output_hidden_states": True}
        read = pipe.text_encoder(input_ids=ids, use_cache=False, **how).hidden_states
        layers = options.get("text_encoder_out_layers", self.layers)
        return torch.cat([read[layer] for layer in layers], -1)

    def resumed(self, pipe: Any, latents: Tensor) -> Tensor:
        """In patches, and normed as its autoencoder's are."""
        norm, patches = pipe.vae.bn, pipe._patchify_latents(latents)
        mean, variance = (value.view(1, -1, 1, 1).to(patches) for value in (norm.running_mean, norm.running_var))
        normed: Tensor = (patches - mean) / (variance + pipe.vae.config.batch_norm_eps).sqrt()
        return normed

    def mapped(self, latents: Tensor, one: Pass) -> Tensor:
        """By the places of its tokens, which are patches already."""
        last = one.inputs["img_ids"][0, : latents.shape[1]].amax(0).tolist()
        return latents.unflatten(1, (round(last[1]) + 1, round(last[2]) + 1)).permute(0, 3, 1, 2)

    def text_projections(self, denoiser: Any, which: Sequence[str]) -> list[Place]:
        """A single block makes q, k, v and more in one layer: each is some of its columns, text rows first."""
        single = []
        for i, block in enumerate(denoiser.single_transformer_blocks):
            layer, width = block.attn.to_qkv_mlp_proj, block.attn.inner_dim
            for one in which:
                start = "qkv".index(one) * width
                columns = (start, start + width)
                single.append(Place(f"single_transformer_blocks.{i}.attn", one, layer, "first", columns, once=False))
        return super().text_projections(denoiser, which) + single
