"""The safety checker that Stable Diffusion 1.x ships with: "nsfw", from the cosines of a CLIP with fixed concepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from ..config import checked
from ..errors import ConfigError
from ..types import Labels
from ._clip import weights_digest
from .base import Judge


class SafetyChecker(Judge):
    """diffusers' ``StableDiffusionSafetyChecker``, unchanged. Its one label is "nsfw", with the score 0 or 1.

    Its 17 concepts and thresholds are part of its weights, and undocumented: mostly sexual ones, no violence
    (arXiv 2210.04610). The code is Apache-2.0 (diffusers), the weights come with Stable Diffusion's own licence. The
    published weights could not be had where this was written: it is tested with random ones.

    Args:
        model: folder or id on the Hub, with safetensors weights.
        checker, processor: a checker and its preprocessing that are loaded already; both or none.

    Raises:
        ConfigError: there is none.
    """

    name = "safety_checker"
    version = "1"

    @checked
    def __init__(
        self, model: str = "CompVis/stable-diffusion-safety-checker", checker: Any = None, processor: Any = None
    ) -> None:
        self._checker, self._processor = (checker, processor) if checker else _load(model)
        source = type(checker).__name__ if checker else model
        self._identity = f"{source} {weights_digest(self._checker)}"

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"checker": self._identity}

    def look(self, images: list[Image.Image]) -> list[Labels]:
        seen = self._processor(images, return_tensors="pt").pixel_values
        black = [np.zeros((1, 1, 3)) for _ in images]  # it blanks what it is given; we need the verdict alone
        _, flags = self._checker(clip_input=seen, images=black)
        return [Labels(("nsfw",) if flag else (), None, None, {"nsfw": float(flag)}) for flag in flags]


def _load(model: str) -> tuple[Any, Any]:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    try:
        checker = StableDiffusionSafetyChecker.from_pretrained(model, use_safetensors=True).float().eval()
        return checker, CLIPImageProcessor.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no safety checker can be loaded from {model!r}: {error}") from error
