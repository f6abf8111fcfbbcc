"""FLUX.2 klein: guidance in two passes, where it was not distilled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ._blocks.flux_2 import Flux2Blocks
from ._tokens import chat_frame


class Flux2(Flux2Blocks):
    """Klein's negative prompt is always empty."""

    name = "flux_2"
    title = "FLUX.2 klein"
    classes = ("Flux2KleinPipeline",)
    parts: ClassVar[Mapping[str, str]] = {"flux_2": "text_encoder"}
    guidance = "give guidance_scale above 1 to a klein that is not distilled"
    layers = (9, 18, 27)

    def guided(self, pipe: Any, arguments: Mapping[str, Any]) -> bool:
        return super().guided(pipe, arguments) and not pipe.config.is_distilled

    def frame(self, pipe: Any) -> tuple[str, str]:
        how = {"add_generation_prompt": True, "enable_thinking": False}
        return chat_frame(pipe.tokenizer, lambda said: [{"role": "user", "content": said}], **how)
