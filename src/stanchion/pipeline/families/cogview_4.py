"""CogView4: a language model's states before the picture in every block, two passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...types import Condition
from ._needs import FLOW
from ._tokens import prompt_and_negative
from .base import Family, Place, Said


class CogView4(Family):
    """Sizes and crops are the prompt's own. The empty prompt may be no token at all: a space stands for it."""

    name = "cogview_4"
    title = "CogView4"
    classes = ("CogView4Pipeline",)
    encoding = ("max_sequence_length",)
    offers = ("maps",)
    variants: ClassVar[Mapping[str, str]] = {"trajectory": FLOW}
    rowed = ("timestep", "original_size", "target_size", "crop_coords")
    halves = ("prompt",)

    def refuses(self, kind: str) -> Mapping[str, str]:
        """Padding stands before the prompt, and what of it is which nobody says."""
        return {"text": "its prompts are padded from the left, to lengths of their own, and no mask says how far"}

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        states, _ = pipe.encode_prompt(
            [text or " " for text in texts], do_classifier_free_guidance=False, **self.options(arguments)
        )
        return Condition(states)

    def text_states(self, outputs: Sequence[Any], arguments: Mapping[str, Any], calls: int) -> list[Said]:
        return prompt_and_negative(outputs, arguments)

    def text_projections(self, denoiser: Any, which: Sequence[str]) -> list[Place]:
        """Every block projects [text; picture] in one layer."""
        return [
            Place(f"transformer_blocks.{i}.attn1", one, getattr(block.attn1, f"to_{one}"), "first", once=False)
            for i, block in enumerate(denoiser.transformer_blocks)
            for one in which
        ]
