"""Double and single blocks on packed latents: FLUX.1's, and of those who took them over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._values import unpatched
from .base import Family, Pass, Place


class FluxBlocks(Family):
    """One pass a condition, the prompt's first; single blocks project text and picture together, text first."""

    rowed = ("timestep", "guidance")
    halves = ("prompt",)
    time_scale = 1000.0
    inputs = ("txt_ids", "img_ids")

    def put(self, one: Pass, *given: Any, **more: Any) -> Pass:
        """Places of text tokens are all the same, one for each row of the states."""
        made = super().put(one, *given, **more)
        length = made.inputs[self.conditions[0]].shape[1]
        made.inputs["txt_ids"] = one.inputs["txt_ids"].new_zeros(length, 3)
        return made

    def mapped(self, latents: Tensor, one: Pass) -> Tensor:
        """By the places of its patches; those of a picture to be edited come behind."""
        last = one.inputs["img_ids"][: latents.shape[1]].amax(0).tolist()
        return unpatched(latents, round(last[1]) + 1, round(last[2]) + 1)

    def blank(self, one: Pass, denoiser: Any) -> Tensor:
        return torch.ones_like(one.inputs["hidden_states"][..., : denoiser.out_channels])

    def text_projections(self, denoiser: Any, which: Sequence[str]) -> list[Place]:
        blocks = enumerate(denoiser.single_transformer_blocks)
        single = [
            Place(f"single_transformer_blocks.{i}.attn", one, getattr(block.attn, f"to_{one}"), "first", once=False)
            for i, block in blocks
            for one in which
        ]
        return super().text_projections(denoiser, which) + single
