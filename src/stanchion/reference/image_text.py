"""How well a picture fits a text: cosines in the joint space of one of the world's CLIPs."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer

from .data import to_tensor
from .judge import WEIGHTS
from .training.clip import tokens
from .world import SIZE

REWARDS = WEIGHTS / "clip"  # what guards are trained with, and an attacker may have


class ImageText:
    """The shipped CLIP in ``folder``; ``metric_clip`` measures only, nothing is trained on it.

    Attributes:
        text: ``text(words)`` is (D,), of unit length; kept.
        identity: its name, and the first digits of the SHA-256 of its weights.
    """

    def __init__(self, folder: Path = WEIGHTS / "metric_clip") -> None:
        self.clip = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "pipeline" / "tokenizer")
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        self.identity = f"{folder.name} {digest[:12]}"
        self.text = cache(self._read_text)

    def cosine(self, image: Image.Image, text: str) -> float:
        """In [-1, 1]; one pair at a time, so that no other pair sways the last digits."""
        return float(self.image(image) @ self.text(text))

    @torch.no_grad()
    def image(self, image: Image.Image) -> Tensor:
        """(D,) of unit length."""
        image = image.convert("RGB")
        if image.size != (SIZE, SIZE):
            image = image.resize((SIZE, SIZE), Image.Resampling.BOX)
        pixels = to_tensor(np.asarray(image)[None].copy())
        return F.normalize(self.clip.get_image_features(pixel_values=pixels).pooler_output[0], dim=0)

    @torch.no_grad()
    def _read_text(self, text: str) -> Tensor:
        """(D,) of unit length."""
        ids = tokens(self.tokenizer, [text])
        return F.normalize(self.clip.get_text_features(input_ids=ids).pooler_output[0], dim=0)
