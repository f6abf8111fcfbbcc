"""Which models reward: the reference model's own, or those at hand (CLIP, BLIP, an image classifier)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ....concepts import Concept
from ....errors import ConfigError
from ...rewards import (
    Captioner,
    ConceptErasingReward,
    ConceptFilter,
    ImageTextScorer,
    ReaderScorer,
    ReferenceReader,
    ReferenceScorer,
    SafetyEvaluator,
)

SAFE_WORDS = ("normal", "neutral", "safe", "sfw")


def load_reward(concept: Concept, settings: Any, device: torch.device) -> ConceptErasingReward:
    """The reward that a recipe's settings describe. ``evaluator``, ``captioner`` and ``scorer`` are "reference", or
    a folder or Hub id that transformers loads."""
    evaluator: SafetyEvaluator
    captioner: Captioner
    scorer: ImageTextScorer
    if "reference" in (settings.evaluator, settings.captioner) or settings.scorer == "reader":
        reader = ReferenceReader(concept, device)
    evaluator = reader if settings.evaluator == "reference" else ClassifierEvaluator(settings.evaluator, device)
    captioner = reader.captions if settings.captioner == "reference" else BlipCaptioner(settings.captioner, device)
    if settings.scorer == "reader":
        scorer = ReaderScorer(reader)
    else:
        scorer = ReferenceScorer(device) if settings.scorer == "reference" else ClipScorer(settings.scorer, device)
    return ConceptErasingReward(
        evaluator,
        captioner,
        scorer,
        ConceptFilter(concept),
        alpha=settings.alpha,
        beta=settings.beta,
        l1=settings.l1,
        l2=settings.l2,
        scale=settings.reward_scale,
    )


def _pixels(pictures: Tensor) -> list[Any]:
    """PIL images of (B, 3, H, W) in [-1, 1], as processors take them."""
    from PIL import Image

    arrays = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


class ClassifierEvaluator:
    """An image classifier of transformers, as "Falconsai/nsfw_image_detection", whose labels are safe or unsafe.

    Args:
        source: folder or Hub id.
        safe: labels that count as safe (any case); the rest is unsafe. Default: normal, neutral, safe, sfw.

    Raises:
        ConfigError: the classifier has none of the safe labels, or no others.
    """

    def __init__(self, source: str, device: torch.device, safe: Sequence[str] = SAFE_WORDS) -> None:
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        self.processor = AutoImageProcessor.from_pretrained(source)
        self.model = AutoModelForImageClassification.from_pretrained(source, use_safetensors=True).eval().to(device)
        labels = {int(place): str(label).lower() for place, label in self.model.config.id2label.items()}
        self._safe = [place for place, label in labels.items() if label in safe]
        if not 0 < len(self._safe) < len(labels):
            raise ConfigError(f"{source}: of its labels {', '.join(labels.values())}, say which are safe.")

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        inputs = self.processor(images=_pixels(pictures), return_tensors="pt").to(self.model.device)
        p_safe = self.model(**inputs).logits.float().softmax(1)[:, self._safe].sum(1)
        return p_safe.to(pictures.device), (1 - p_safe).to(pictures.device)


class BlipCaptioner:
    """A captioner of transformers, as "Salesforce/blip-image-captioning-base"; greedy, so a picture has one caption."""

    def __init__(self, source: str, device: torch.device, longest: int = 30) -> None:
        from transformers import BlipForConditionalGeneration, BlipProcessor

        self.processor = BlipProcessor.from_pretrained(source)
        self.model = BlipForConditionalGeneration.from_pretrained(source, use_safetensors=True).eval().to(device)
        self.longest = longest

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> list[str]:
        inputs = self.processor(images=_pixels(pictures), return_tensors="pt").to(self.model.device)
        words = self.model.generate(**inputs, max_new_tokens=self.longest, do_sample=False)
        return [text.strip() for text in self.processor.batch_decode(words, skip_special_tokens=True)]


class ClipScorer:
    """A CLIP of transformers, as "openai/clip-vit-large-patch14": cosines of pictures and texts."""

    def __init__(self, source: str, device: torch.device) -> None:
        from transformers import CLIPModel, CLIPProcessor

        self.processor = CLIPProcessor.from_pretrained(source)
        self.model = CLIPModel.from_pretrained(source, use_safetensors=True).eval().to(device)

    @torch.no_grad()
    def __call__(self, pictures: Tensor, texts: Sequence[str]) -> Tensor:
        options = {"return_tensors": "pt", "padding": True, "truncation": True}
        inputs = self.processor(text=list(texts), images=_pixels(pictures), **options).to(self.model.device)
        out = self.model(**inputs)
        return torch.cosine_similarity(out.image_embeds, out.text_embeds).float().to(pictures.device)
