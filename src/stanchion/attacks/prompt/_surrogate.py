"""An attacker's own image-text model, by which it guesses how near a picture is to what it wanted."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


def surrogate(source: str) -> Any:
    """Something with ``cosine(image, text)`` in [-1, 1] and ``text(words)``, (D,) of unit length.

    Args:
        source: "reference" for the CLIP of the reference world that rewards are made of (it measures nothing), else a
            folder or Hub id of a CLIP with its processor, as "openai/clip-vit-base-patch32" of the papers.
    """
    return _reference() if source == "reference" else SurrogateClip(source)


class SurrogateClip:
    """A CLIP from a folder or the Hub."""

    def __init__(self, source: str) -> None:
        from transformers import CLIPModel, CLIPProcessor

        self.clip = CLIPModel.from_pretrained(source, use_safetensors=True).eval()
        self.processor = CLIPProcessor.from_pretrained(source)
        self.text = cache(self._read_text)

    @torch.no_grad()
    def cosine(self, image: Image.Image, text: str) -> float:
        """Of a picture and a text."""
        pixels = self.processor(images=[image.convert("RGB")], return_tensors="pt").pixel_values
        seen = self.clip.get_image_features(pixel_values=pixels).pooler_output[0]
        return float(F.normalize(seen, dim=0) @ self.text(text))

    @torch.no_grad()
    def _read_text(self, text: str) -> Tensor:
        ids = self.processor(text=[text], truncation=True, return_tensors="pt").input_ids
        return F.normalize(self.clip.get_text_features(input_ids=ids).pooler_output[0], dim=0)


@cache
def _reference() -> Any:
    from ...reference.image_text import REWARDS, ImageText

    return ImageText(REWARDS)
