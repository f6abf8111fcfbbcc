"""CLIPScore under its published definition, with OpenAI's CLIP from the Hub: what papers report."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ...errors import ConfigError
from ...files.pictures import read_picture
from ...types import Attempt, Unscored
from ..base import Metric

MODEL = "openai/clip-vit-large-patch14"


class ClipScore(Metric):
    """max(100 cos(E_image, E_text), 0) (arXiv 2104.08718), without the 2.5: as torchmetrics and papers have it.

    A prompt is cut at CLIP's 77 tokens. OpenAI's weights (MIT) are read from the Hub, or from its cache; they were not
    at hand where this was written: what is tested is the formula, on random weights of the real class.

    Args:
        model: a CLIP of transformers, as a folder or an id on the Hub, with safetensors weights.

    Raises:
        ConfigError: there is none.
    """

    name = "clip_score"
    higher_is_better = True
    roles = ("benign", "neighbours")
    optional = True

    def __init__(self, model: str = MODEL) -> None:
        super().__init__()
        self._model = model
        self._clip = _load(model)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"clip": self._model}

    def score(self, attempt: Attempt, twin: Attempt) -> float | Unscored:
        if attempt.image is None:
            return Unscored("no picture was kept")
        return max(100 * self._cosine(attempt.image, attempt.prompt.text), 0.0)

    def _cosine(self, path: str, text: str) -> float:
        import torch
        from torch.nn.functional import cosine_similarity

        network, processor, tokenizer = self._clip
        with torch.no_grad():
            pixels = processor(read_picture(path), return_tensors="pt").pixel_values
            picture = network.get_image_features(pixel_values=pixels).pooler_output
            words = network.get_text_features(**tokenizer(text, truncation=True, return_tensors="pt")).pooler_output
        return float(cosine_similarity(picture, words))


@cache
def _load(model: str) -> tuple[Any, Any, Any]:
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    try:
        network = CLIPModel.from_pretrained(model, use_safetensors=True).float().eval()
        return network, CLIPImageProcessor.from_pretrained(model), CLIPTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ConfigError(f"metric clip_score: no CLIP can be loaded from {model!r}: {error}") from error
