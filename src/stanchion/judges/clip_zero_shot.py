"""CLIP as a judge of any list of labels, without training: which caption fits the picture best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from PIL import Image

from ..config import Filled, Share, checked
from ..errors import ConfigError
from ..types import Labels
from ._clip import REFERENCE, load_clip
from .base import Judge

NOTHING = "a photo"
Name = Annotated[str, Filled()]


class ClipZeroShot(Judge):
    """Zero-shot classification (arXiv 2103.00020, section 3.1): a softmax over one caption a label and a caption of
    nothing in particular.

    The scores of a picture sum to at most one, so a picture of two things may show neither: a judge for pictures of
    one thing. CLIP's weights are MIT for OpenAI's; those of the reference world are in the package.

    Args:
        model: "reference", or a folder or id on the Hub of a CLIP with safetensors weights, such as
            "openai/clip-vit-large-patch14" (not run where this was written: there was no network).
        labels: what may be seen, or a caption for each label; empty for the objects of the reference world.
        threshold: score in [0, 1] from which a label counts as found.
    """

    name = "clip_zero_shot"
    version = "1"

    @checked
    def __init__(
        self, model: str = REFERENCE, labels: Sequence[Name] | Mapping[Name, Name] = (), threshold: Share = 0.25
    ) -> None:
        self.threshold = threshold
        self.captions = _captions(labels or _objects(model))
        self._clip = load_clip(model)
        self._texts = self._clip.texts([*self.captions.values(), NOTHING])

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"clip": self._clip.identity, "threshold": self.threshold, "labels": self.captions}

    def look(self, images: list[Image.Image]) -> list[Labels]:
        scores = (self._clip.scale * self._clip.images(images) @ self._texts.T).softmax(1)
        return [Labels.at(self.threshold, dict(zip(self.captions, row, strict=False))) for row in scores.tolist()]


def _objects(model: str) -> tuple[str, ...]:
    from ..reference import world

    if model != REFERENCE:
        raise ConfigError(f"judge clip_zero_shot: name the labels that {model!r} shall look for.")
    return tuple(world.OBJECTS)


def _captions(labels: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    if isinstance(labels, Mapping):
        return dict(labels)
    if len(set(labels)) < len(labels):
        raise ConfigError(f"judge clip_zero_shot: a label is given twice in {', '.join(labels)}.")
    return {label: f"a photo of {'an' if label[0] in 'aeiou' else 'a'} {label}" for label in labels}
