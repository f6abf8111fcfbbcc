"""Qwen-Image-Edit. The processor is put together here, of the real one's parts: the real one needs torchvision."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
import transformers

from . import qwen_image
from .parts import chat_tokenizer
from .spec import Tiny, picture

MARKS = ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]


class Processor:
    """Prompt and pictures as a Qwen2VLProcessor reads them."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.image_processor = transformers.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56)

    def __call__(self, text: list[str], images: Any, padding: bool, return_tensors: str) -> Any:
        (said,) = text
        seen = self.image_processor(images, return_tensors=return_tensors)
        for grid in seen["image_grid_thw"]:
            said = said.replace(MARKS[1], "\0" * (int(grid.prod()) // 4), 1)
        tokens = self.tokenizer([said.replace("\0", MARKS[1])], padding=padding, return_tensors=return_tensors)
        return transformers.BatchFeature({**tokens, **seen})


def parts() -> dict[str, Any]:
    for file in ("edit", "edit_plus"):  # of a megapixel otherwise
        module = import_module(f"diffusers.pipelines.qwenimage.pipeline_qwenimage_{file}")
        module.calculate_dimensions = lambda area, ratio, count=2 + (file == "edit"): (32, 32, None)[:count]
    made = qwen_image.parts()
    words = chat_tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", *MARKS]})
    config = made["text_encoder"].config
    config.image_token_id = words.convert_tokens_to_ids(MARKS[1])
    config.vision_start_token_id = words.convert_tokens_to_ids(MARKS[0])
    config.text_config.vocab_size = len(words)
    torch.manual_seed(3)
    encoder = transformers.Qwen2_5_VLForConditionalGeneration(config).eval()
    return {**made, "tokenizer": words, "processor": Processor(words), "text_encoder": encoder}


OPTIONS = {"height": 32, "width": 32, "true_cfg_scale": 4.0, "image": picture}
TINY = {
    "QwenImageEditPipeline": Tiny(parts, OPTIONS, " bad", batch=1),
    "QwenImageEditPlusPipeline": Tiny(parts, OPTIONS, " bad", batch=1),
}
