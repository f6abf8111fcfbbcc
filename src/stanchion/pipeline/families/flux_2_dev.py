"""FLUX.2 dev: klein's blocks and latents, a system message before the prompt, and guidance that is distilled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from ...errors import UnsupportedPipeline
from ._blocks.flux_2 import Flux2Blocks
from ._tokens import chat_frame


class Flux2Dev(Flux2Blocks):
    """``tokenizer`` is a processor, which writes the template's special tokens by itself; guidance is an input."""

    name = "flux_2_dev"
    title = "FLUX.2 dev"
    classes = ("Flux2Pipeline",)
    parts: ClassVar[Mapping[str, str]] = {"flux_2_dev": "text_encoder"}
    layers = (10, 20, 30)
    special = False

    def refuses(self, kind: str) -> Mapping[str, str]:
        """There is one prediction a step."""
        return {"trajectory": "its guidance is distilled, and what a guard does to such predictions was never measured"}

    def resumed(self, pipe: Any, latents: Tensor) -> Tensor:
        raise UnsupportedPipeline(f"what {self.title} gives as latents it does not take: their size is not said.")

    def spoken(self, pipe: Any, texts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        """What stands for a picture is taken out of a text."""
        return [text.replace("[IMG]", "") for text in texts]

    def frame(self, pipe: Any) -> tuple[str, str]:
        def messages(said: str) -> list[Any]:
            each = {"system": pipe.system_message, "user": said}
            return [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in each.items()]

        return chat_frame(pipe.tokenizer, messages, add_generation_prompt=False)
