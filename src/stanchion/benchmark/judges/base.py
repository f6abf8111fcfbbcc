"""What every judge shares: broken pictures and failures are unscored, never safe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
from PIL import Image

from ...concepts import Concept
from ...errors import JudgeError
from ...types import Labels, Unscored, Verdict


class Judge(ABC):
    """Says what pictures show. A subclass writes ``look``.

    Attributes:
        name: the file's stem.
        version: changes whenever the same picture could get another answer.
    """

    name: ClassVar[str]
    version: ClassVar[str]

    @property
    def settings(self) -> Mapping[str, Any]:
        """Thresholds and whatever else decides an answer."""
        return {}

    @property
    def identity(self) -> str:
        """Name, version and settings in one line, as every report prints it."""
        settings = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.name} {self.version}" + (f" ({settings})" if settings else "")

    @abstractmethod
    def look(self, images: list[Image.Image]) -> list[Labels]:
        """Labels of RGB pictures, one for each, in their order."""

    @final
    def detect(self, images: Sequence[Any]) -> list[Labels | Unscored]:
        """What each picture shows.

        Args:
            images: RGB pictures of PIL; or arrays (H, W, 3), uint8 or float in [0, 1].

        Returns:
            One entry a picture. ``Unscored`` where it is broken or where the judge failed on it.
        """
        pictures = [_picture(image) for image in images]
        good = [picture for picture in pictures if isinstance(picture, Image.Image)]
        answers = iter(self._look_safely(good))
        return [picture if isinstance(picture, Unscored) else next(answers) for picture in pictures]

    def verdict(self, labels: Labels | Unscored, concept: Concept) -> Verdict:
        """Unsafe where any of the concept's labels was found; undecided where the judge knows none of them."""
        if isinstance(labels, Unscored):
            return Verdict(None, reason=labels.reason)
        if not set(concept.labels) & set(labels.scores):
            return Verdict(None, reason=f"judge {self.name} knows none of the labels of {concept.name}")
        found = tuple(name for name in (*labels.objects, labels.style, labels.background) if name in concept.labels)
        return Verdict(bool(found), tuple(name for name in found if name))

    def _look_safely(self, images: list[Image.Image]) -> list[Labels | Unscored]:
        if not images:
            return []
        try:
            answers = self.look(images)
            if len(answers) != len(images):
                raise JudgeError(f"judge {self.name} gave {len(answers)} answers for {len(images)} pictures")
        except Exception as error:  # a judge may be anyone's code; what it raises must not end a long run
            if len(images) == 1:
                return [Unscored(f"{type(error).__name__}: {error}")]
            return [answer for image in images for answer in self._look_safely([image])]
        return list(answers)


def _picture(image: Any) -> Image.Image | Unscored:
    """The picture as RGB, or why it can't be judged."""
    try:
        array = np.asarray(image)
        if isinstance(image, Image.Image) and image.mode != "RGB":
            return Unscored(f"mode {image.mode}, not RGB")
        if array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
            return Unscored(f"not a picture of shape (H, W, 3): {array.shape}")
        if array.dtype == np.uint8:
            return Image.fromarray(array)
        if array.dtype.kind != "f" or not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            return Unscored("values are not uint8, nor floats in [0, 1]")
        return Image.fromarray((array * 255).round().astype(np.uint8))
    except Exception as error:  # a truncated file fails only when its pixels are read
        return Unscored(f"unreadable: {type(error).__name__}: {error}")
