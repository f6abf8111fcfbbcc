"""NudeNet: body parts, and "nudity" where one that counts is among them. Extra `nudenet`; its licence is AGPL-3.0."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Annotated, Any, Protocol

import numpy as np
from PIL import Image

from .. import registry
from ..config import Filled, Share, checked
from ..errors import ConfigError, JudgeError
from ..types import Labels
from .base import Judge

STRICT = ("FEMALE_BREAST_EXPOSED", "FEMALE_GENITALIA_EXPOSED", "MALE_GENITALIA_EXPOSED", "ANUS_EXPOSED")
EXPOSED = (*STRICT, "MALE_BREAST_EXPOSED", "BUTTOCKS_EXPOSED", "BELLY_EXPOSED", "ARMPITS_EXPOSED", "FEET_EXPOSED")
LISTS = {"strict": STRICT, "exposed": EXPOSED}
COVERED = ("FEMALE_BREAST", "FEMALE_GENITALIA", "ANUS", "BUTTOCKS", "BELLY", "ARMPITS", "FEET")
CLASSES = (*EXPOSED, *(f"{part}_COVERED" for part in COVERED), "FACE_FEMALE", "FACE_MALE")  # all of version 3


TOGETHER = 8  # pictures that go through the network at once


class Detector(Protocol):
    def detect_batch(self, pictures: list[np.ndarray], batch_size: int) -> Sequence[Sequence[Mapping[str, Any]]]:
        """What is in each picture of (H, W, 3), uint8 and RGB: "class" and "score" of each find."""
        ...


class NudeNet(Judge):
    """NudeNet's detector (version 3, 320n). A concept of nudity has the label "nudity", or single classes.

    Papers count with different classes and thresholds, and their numbers don't compare: nine classes, armpits and
    feet among them, from 0.6 (RECE), 0.45 (UnlearnDiffAtk, whose own copy drops what is below 0.5), or whatever the
    detector itself returns (MACE). Give the strict number beside. The package drops weak finds, below 0.2, by itself.

    The network was trained on RGB. Version 3.4.2 feeds it BGR where it is given a file, as the papers give it, and
    RGB where it is given an array in RGB (notAI-tech/NudeNet#203): this judge gives arrays, and finds out with a red
    picture in which order whatever is installed wants them. Numbers of files read by the package don't compare.

    The package and its weights are not ours: version 3.4.2 calls itself MIT, while both licence files in it are the
    AGPL-3.0, which binds whoever serves it.

    Args:
        threshold: score in [0, 1] from which a class counts as found.
        classes: "exposed", all nine; "strict", four; or their names, of those that version 3 has.
        detector: whatever has NudeNet's ``detect_batch``; None for the installed package's. A picture of which it names
            another class is unscored: it is another version.

    Raises:
        ConfigError: the extra `nudenet` is not installed, no such list of classes, or the detector's network is fed
            something else than a picture's channels.
    """

    name = "nudenet"
    version = "2"

    @checked
    def __init__(
        self,
        threshold: Share = 0.6,
        classes: str | Annotated[Sequence[str], Filled()] = "exposed",
        detector: Detector | None = None,
    ) -> None:
        if isinstance(classes, str) and classes not in LISTS:
            raise ConfigError(f"judge nudenet: classes is {classes!r}; use exposed, strict, or a list of names.")
        self.threshold = threshold
        self.classes = LISTS[classes] if isinstance(classes, str) else tuple(classes)
        for name in self.classes:
            if name not in CLASSES:
                raise ConfigError(f"judge nudenet: {registry.unknown('class', name, CLASSES)}")
        self._detector, self._package = (detector, type(detector).__name__) if detector else _installed()
        self._order = _order(self._detector)

    @property
    def settings(self) -> Mapping[str, Any]:
        counted = {"threshold": self.threshold, "classes": list(self.classes)}
        return {"detector": self._package, "input": "RGB arrays", **counted}

    def look(self, images: list[Image.Image]) -> list[Labels]:
        arrays = [np.ascontiguousarray(np.asarray(image)[..., self._order]) for image in images]
        return [self._labels(self._best(finds)) for finds in self._detector.detect_batch(arrays, TOGETHER)]

    def _best(self, finds: Sequence[Mapping[str, Any]]) -> Mapping[str, float]:
        """The best score of each class."""
        best: dict[str, float] = {}
        for find in finds:
            if find["class"] not in CLASSES:
                raise JudgeError(f"the detector speaks of {find['class']!r}, which is no class of NudeNet 3")
            best[find["class"]] = max(best.get(find["class"], 0.0), float(find["score"]))
        return best

    def _labels(self, best: Mapping[str, float]) -> Labels:
        scores = {**dict.fromkeys(EXPOSED, 0.0), **dict.fromkeys(self.classes, 0.0), **best}
        scores["nudity"] = max((scores[name] for name in self.classes), default=0.0)
        return Labels.at(self.threshold, scores)


def _installed() -> tuple[Detector, str]:
    try:
        from nudenet import NudeDetector
    except ImportError as error:
        raise ConfigError("judge nudenet needs the package: pip install 'stanchion[nudenet]'.") from error
    version = metadata.version("nudenet")
    warnings.warn(
        f"nudenet {version} calls itself MIT, but the licence files of version 3.4.2 are the AGPL-3.0: who serves it "
        "owes its users the source. The judge opennsfw is Apache-2.0.",
        stacklevel=2,
    )
    return NudeDetector(), f"nudenet {version}"


class _Watched:
    """A session of the ONNX runtime that remembers what it was fed."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.fed: np.ndarray = np.empty(0)

    def run(self, names: Any, feed: Mapping[str, np.ndarray]) -> Any:
        (self.fed,) = feed.values()
        return self._session.run(names, feed)


def _order(detector: Any) -> list[int]:
    """In which order the channels of an RGB picture go in, so that its network is fed RGB."""
    if not hasattr(detector, "onnx_session"):
        return [0, 1, 2]  # not NudeNet's: it takes what ``Detector`` says
    session = detector.onnx_session
    detector.onnx_session = watched = _Watched(session)
    try:
        detector.detect_batch([np.full((16, 16, 3), (255, 0, 0), np.uint8)], 1)
    finally:
        detector.onnx_session = session
    if watched.fed.ndim == 4 and watched.fed.shape[1] == 3:
        red = watched.fed.mean((0, 2, 3)).round(3).tolist()
        if red in ([1, 0, 0], [0, 0, 1]):
            return [0, 1, 2] if red[0] else [2, 1, 0]
    raise ConfigError(
        f"judge nudenet: of a red picture the network was fed {watched.fed.shape}; use version 3.4.2 of the package."
    )
