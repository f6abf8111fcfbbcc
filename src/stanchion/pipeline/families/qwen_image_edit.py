"""Qwen-Image-Edit and its Plus: a language model reads the picture with the prompt; its latents stand beside x_t."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import diffusers
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...types import Condition
from ._blocks.qwen import QwenBlocks

MODULE = "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit"
AREA = 1024 * 1024  # of the picture that Edit shows its text encoder


class QwenImageEdit(QwenBlocks):
    """A concept is encoded as the prompt is, with the call's picture; both pipelines take one prompt a call."""

    name = "qwen_image_edit"
    title = "Qwen-Image-Edit"
    classes = ("QwenImageEditPipeline", "QwenImageEditPlusPipeline")
    offers = ("maps",)
    pictured_texts = True
    encoders = ("text_encoder", "tokenizer", "processor")

    def refuses(self, kind: str) -> Mapping[str, str]:
        """Rows of the text states are the picture's."""
        return {
            "text": "its text encoder reads the picture with the prompt, and most text states are the picture's own"
        }

    def encode(self, pipe: Any, texts: Sequence[str], arguments: Mapping[str, Any]) -> Condition:
        shown = _shown(pipe, arguments["image"])
        rows: list[Tensor] = [pipe.encode_prompt([text], image=shown)[0][0] for text in texts]
        states = pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows], device=states.device)
        mask = (torch.arange(states.shape[1], device=states.device) < lengths[:, None]).long()
        extra: dict[str, Any] = {"encoder_hidden_states_mask": None if mask.all() else mask}
        return Condition(states, extra)


def _shown(pipe: Any, given: Any) -> Any:
    """The call's pictures as the text encoder is shown them."""

    def sized(module: Any, area: int, asked: Any, one: Any) -> Any:
        width, height, *_ = module.calculate_dimensions(area, one.size[0] / one.size[1])
        return pipe.image_processor.resize(asked, height, width)

    pictures = given if isinstance(given, list) else [given]
    if not isinstance(pipe, diffusers.QwenImageEditPlusPipeline):
        return sized(import_module(MODULE), AREA, given, pictures[0])
    plus = import_module(f"{MODULE}_plus")
    return [sized(plus, plus.CONDITION_IMAGE_SIZE, one, one) for one in pictures]
