"""FLUX.2 klein: states of a language model in a chat template, fused single blocks, guidance in two passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...types import Condition
from ._needs import FLOW
from .base import TEXT, Family, Place, Said


class Flux2(Family):
    """A concept is encoded within the same template as a prompt. Klein's negative prompt is always empty."""

    name = "flux_2"
    title = "FLUX.2 klein"
    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    classes = ("Flux2KleinPipeline",)
    encoding = ("max_sequence_length", "text_encoder_out_layers")
    offers = ("padded_text", "padding_read")
    conditions = (TEXT, "txt_ids")
    rowed = ("timestep", "guidance", "img_ids")
    halves = ("prompt",)
    time_scale = 1000.0
    refused: ClassVar[Mapping[str, str]] = {**Family.refused, "image": "no guard was tried on its editing"}
    guidance = "give guidance_scale above 1 to a klein that is not distilled"

    def guided(self, pipe: Any, arguments: Mapping[str, Any]) -> bool:
        return super().guided(pipe, arguments) and not pipe.config.is_distilled

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, places = pipe.encode_prompt(list(texts), **self.options(arguments))
        return Condition(states, {"txt_ids": places})

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return [Said("negative" if calls else "prompt", 0, arguments["prompt"])]

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
