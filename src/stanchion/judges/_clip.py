"""The CLIP that a judge looks through: one from a folder or the Hub, or the reference world's own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

from PIL import Image

from ..errors import ConfigError

REFERENCE = "reference"


class Clip(Protocol):
    """Two towers that end in D numbers, ``size``.

    ``identity`` names the model and the first digits of the SHA-256 of its weights; ``scale`` is what cosines are
    multiplied by before a softmax.
    """

    identity: str
    scale: float
    size: int

    def images(self, images: Sequence[Image.Image]) -> Any:
        """(B, D) of unit length."""
        ...

    def texts(self, texts: Sequence[str]) -> Any:
        """(N, D) of unit length."""
        ...


@cache
def load_clip(source: str) -> Clip:
    """The CLIP ``source``: "reference", a folder, or an id on the Hub, with safetensors weights.

    Raises:
        ConfigError: there is none.
    """
    return ReferenceClip() if source == REFERENCE else StockClip(source)


class ReferenceClip:
    """The metric CLIP of the reference world: nothing was trained on it, and its words are all it knows."""

    def __init__(self) -> None:
        from ..reference.image_text import ImageText

        self._reader = ImageText()
        self.identity = self._reader.identity
        self.scale = self._reader.clip.logit_scale.exp().item()
        self.size = self._reader.clip.config.projection_dim

    def images(self, images: Sequence[Image.Image]) -> Any:
        import torch

        return torch.stack([self._reader.image(image) for image in images])

    def texts(self, texts: Sequence[str]) -> Any:
        import torch

        return torch.stack([self._reader.text(text) for text in texts])


class StockClip:
    """A CLIP of transformers with its own preprocessing, on the CPU in float32."""

    def __init__(self, source: str) -> None:
        from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

        try:
            self.model = CLIPModel.from_pretrained(source, use_safetensors=True).float().eval()
            self.tokenizer = CLIPTokenizer.from_pretrained(source)
            self.processor = CLIPImageProcessor.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise ConfigError(f"no CLIP can be loaded from {source!r}: {error}") from error
        self.identity = f"{source} {weights_digest(self.model)}"
        self.scale = self.model.logit_scale.exp().item()
        self.size = self.model.config.projection_dim

    def images(self, images: Sequence[Image.Image]) -> Any:
        import torch
        from torch.nn import functional as F

        pixels = self.processor(list(images), return_tensors="pt").pixel_values
        with torch.no_grad():
            return F.normalize(self.model.get_image_features(pixel_values=pixels).pooler_output, dim=1)

    def texts(self, texts: Sequence[str]) -> Any:
        import torch
        from torch.nn import functional as F

        tokens = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            return F.normalize(self.model.get_text_features(**tokens).pooler_output, dim=1)


def weights_digest(model: Any) -> str:
    """12 hex digits of the SHA-256 of a module's tensors."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
