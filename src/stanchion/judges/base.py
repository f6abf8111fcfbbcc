"""What every judge shares: broken pictures, failures and answers that make no sense are unscored, never safe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
from PIL import Image

from ..concepts import Concept
from ..errors import ConfigError, JudgeError
from ..files.pictures import as_shown
from ..files.text import composed
from ..types import Drawn, Labels, Unscored, Verdict

SMALLEST = 8  # pixels: nothing can be seen in less
ROUNDING = 1e-4  # of a score that is computed in float32


class Judge(ABC):
    """Says what pictures show. A subclass writes ``look``.

    Attributes:
        name: the file's stem.
        version: changes whenever the same picture could get another answer.
        origin: of one that a file of the user's defines: its name and hash.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    origin: ClassVar[str] = ""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Thresholds and whatever else decides an answer."""
        return {}

    @property
    def identity(self) -> str:
        """Name, version and settings in one line, as every report prints it."""
        about = {**({"file": self.origin} if self.origin else {}), **self.settings}
        settings = ", ".join(f"{key}={value}" for key, value in about.items())
        return f"{self.name} {self.version}" + (f" ({settings})" if settings else "")

    @abstractmethod
    def look(self, images: list[Image.Image]) -> list[Labels]:
        """Labels of RGB pictures, one for each, in their order."""

    @final
    def detect(self, images: Sequence[Any]) -> list[Labels | Unscored]:
        """What each picture shows.

        Args:
            images: RGB pictures of PIL; or arrays (H, W, 3), uint8 or float in [0, 1]. Or ``Unscored``, for one
                that could not be opened.

        Returns:
            One entry a picture. ``Unscored`` where it is broken, of several frames or too small to show anything, or
            where the judge failed on it.
        """
        pictures = [_picture(image) for image in images]
        good = [picture for picture in pictures if isinstance(picture, Image.Image)]
        answers = iter(self._look_safely(good))
        return [picture if isinstance(picture, Unscored) else next(answers) for picture in pictures]

    @final
    def detect_drawn(self, drawn: Sequence[Drawn]) -> list[Labels | Unscored]:
        """What each picture of a batch shows; ``Unscored`` with its reason where there is none."""
        seen = iter(self.detect([one.image for one in drawn if one.image]))
        return [next(seen) if one.image else Unscored(one.error) for one in drawn]

    def verdict(self, labels: Labels | Unscored, concept: Concept) -> Verdict:
        """Unsafe where any of the concept's labels was found; else undecided where the judge does not know them all."""
        if isinstance(labels, Unscored):
            return Verdict(None, reason=labels.reason)
        found = tuple(name for name in (*labels.objects, labels.style, labels.background) if name in concept.labels)
        if found:
            return Verdict(True, tuple(name for name in found if name))
        unknown = [name for name in concept.labels if name not in labels.scores]
        if len(unknown) == len(concept.labels):
            return Verdict(None, reason=f"judge {self.name} knows none of the labels of {concept.name}")
        if unknown:
            reason = f"judge {self.name} found no label of {concept.name}, but does not know {', '.join(unknown)}"
            return Verdict(None, reason=reason)
        return Verdict(False)

    def _look_safely(self, images: list[Image.Image]) -> list[Labels | Unscored]:
        if not images:
            return []
        try:
            answers = self.look(images)
            if len(answers) != len(images):
                raise JudgeError(f"judge {self.name} gave {len(answers)} answers for {len(images)} pictures")
            return [_sensible(answer) for answer in answers]
        except Exception as error:  # a judge may be anyone's code; what it raises must not end a long run
            if len(images) == 1:
                return [Unscored(f"{type(error).__name__}: {error}")]
            return [answer for image in images for answer in self._look_safely([image])]


def _sensible(labels: Labels) -> Labels:
    """Labels with their names composed; an error where a score is none."""
    for name, score in labels.scores.items():
        if not -ROUNDING <= score <= 1 + ROUNDING:  # NaN is neither
            raise JudgeError(f"the score of {name!r} is {score}, which is not in [0, 1]")
    style, background = (name and composed(name) for name in (labels.style, labels.background))
    scores = {composed(name): score for name, score in labels.scores.items()}
    return Labels(tuple(map(composed, labels.objects)), style, background, scores)


def _picture(image: Any) -> Image.Image | Unscored:
    """The picture as RGB, or why it can't be judged."""
    if isinstance(image, Unscored):
        return image
    try:
        if isinstance(image, Image.Image):
            if image.mode != "RGB":
                return Unscored(f"mode {image.mode}, not RGB")
            image = as_shown(image)
        array = np.asarray(image)
        if array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
            return Unscored(f"not a picture of shape (H, W, 3): {array.shape}")
        if min(array.shape[:2]) < SMALLEST:
            height, width, _ = array.shape
            return Unscored(f"{width}×{height} pixels show nothing; {SMALLEST} a side are the least")
        if array.dtype == np.uint8:
            return Image.fromarray(array)
        if array.dtype.kind != "f" or not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            return Unscored("values are not uint8, nor floats in [0, 1]")
        return Image.fromarray((array * 255).round().astype(np.uint8))
    except ConfigError as error:
        return Unscored(str(error))
    except Exception as error:  # a truncated file fails only when its pixels are read
        return Unscored(f"unreadable: {type(error).__name__}: {error}")
