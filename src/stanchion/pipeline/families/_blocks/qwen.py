"""Qwen-Image's transformer: states with a mask, packed latents, two passes, a guided prediction of a norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from ....types import Condition
from .._needs import FLOW
from .._values import unpatched
from ..base import TEXT, Family, Pass


class QwenBlocks(Family):
    """A mask of None means that every row is text, and is no missing mask."""

    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    encoding = ("max_sequence_length",)
    conditions = (TEXT, "encoder_hidden_states_mask")
    rowed = ("timestep", "guidance")
    halves = ("prompt",)
    time_scale = 1000.0
    inputs = ("img_shapes",)
    guidance = "give true_cfg_scale above 1 and a negative_prompt (' ' will do)"

    def guided(self, pipe: Any, arguments: Mapping[str, Any]) -> bool:
        given = (arguments.get(name) for name in ("negative_prompt", "negative_prompt_embeds"))
        return float(arguments.get("true_cfg_scale") or 1.0) > 1.0 and any(one is not None for one in given)

    def arguments(self, pipe: Any, guidance_scale: float, count: int) -> dict[str, Any]:
        """True guidance by a prompt that is a space: the empty one is no negative prompt here."""
        return {"true_cfg_scale": guidance_scale, "negative_prompt": [" "] * count}

    def scale(self, pipe: Any, arguments: Mapping[str, Any], roles: Mapping[str, Any], timestep: float) -> float:
        return float(arguments["true_cfg_scale"]) if "negative" in roles else 1.0

    def finish(self, pipe: Any, arguments: Mapping[str, Any], guided: Tensor, prompt: Tensor) -> Tensor:
        return guided * (prompt.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))

    def put(self, one: Pass, conditions: Sequence[Condition], sample: Tensor, rows: Tensor | None = None) -> Pass:
        made = super().put(one, conditions, sample, rows)
        made.inputs["img_shapes"] = one.inputs["img_shapes"][: len(sample)] * len(conditions)
        return made

    def mapped(self, latents: Tensor, one: Pass) -> Tensor:
        """The first of its shapes is x_t's, in patches; those of pictures to be edited come behind."""
        _, rows, columns = one.inputs["img_shapes"][0][0]
        return unpatched(latents, rows, columns)

    def fits_together(self, first: Condition, second: Condition) -> bool:
        """Texts are padded to the longest of their batch; alone they are not."""
        return False
