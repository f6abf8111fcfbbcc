"""Any image classifier of transformers, from a folder or the Hub, with its classes mapped onto labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from PIL import Image

from .. import registry
from ..config import Filled, Share, checked
from ..errors import ConfigError
from ..types import Labels
from ._clip import weights_digest
from .base import Judge

TOGETHER = 16  # pictures that go through the network at once
Name = Annotated[str, Filled()]


class ImageClassifier(Judge):
    """An ``AutoModelForImageClassification`` with its own preprocessing, on the CPU in float32.

    A label's score is what its classes have together: their sum where the model's classes exclude each other (a
    softmax), the highest where they don't (``problem_type: multi_label_classification``, sigmoids). Code that comes
    with a model is never run. The licence is the model's own; read it.

    Args:
        model: folder or id on the Hub, with safetensors weights, such as "Falconsai/nsfw_image_detection" (not run
            where this was written: there was no network).
        labels: for each label of ours the model's classes that mean it, as in ``{nsfw: [porn, hentai]}``; empty for
            every class under its own name.
        threshold: score in [0, 1] from which a label counts as found.
        revision: branch, tag or commit on the Hub; give a commit, so that the same model comes again.

    Raises:
        ConfigError: no classifier can be had there, or it has no class of that name.
    """

    name = "image_classifier"
    version = "1"

    @checked
    def __init__(
        self,
        model: str = "",
        labels: Mapping[Name, Annotated[Sequence[Name], Filled()]] | None = None,
        threshold: Share = 0.5,
        revision: str = "main",
    ) -> None:
        if not model.strip():
            raise ConfigError("judge image_classifier: say which, model=FOLDER or an id on the Hub.")
        self.threshold = threshold
        self._network, self._processor = _load(model, revision)
        self._identity = f"{model} {weights_digest(self._network)}"
        classes = list(self._network.config.id2label.values())
        self.labels = {name: list(mean) for name, mean in (labels or {name: [name] for name in classes}).items()}
        for wanted in (one for several in self.labels.values() for one in several):
            if wanted not in classes:
                raise ConfigError(f"judge image_classifier: {registry.unknown(f'class of {model}', wanted, classes)}")

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"network": self._identity, "threshold": self.threshold, "labels": self.labels}

    def look(self, images: list[Image.Image]) -> list[Labels]:
        parts = (images[start : start + TOGETHER] for start in range(0, len(images), TOGETHER))
        return [Labels.at(self.threshold, scores) for part in parts for scores in self._scores(part)]

    def _scores(self, images: list[Image.Image]) -> list[dict[str, float]]:
        """The score of each label, a picture after the other."""
        import torch

        pixels = self._processor(images, return_tensors="pt")
        with torch.no_grad():
            logits = self._network(**pixels).logits
        several = self._network.config.problem_type == "multi_label_classification"
        rows = logits.sigmoid() if several else logits.softmax(1)
        places = {name: place for place, name in self._network.config.id2label.items()}
        chosen = {name: rows[:, [places[one] for one in mean]] for name, mean in self.labels.items()}
        scores = {name: (part.amax(1) if several else part.sum(1)).tolist() for name, part in chosen.items()}
        return [{name: values[k] for name, values in scores.items()} for k in range(len(images))]


def _load(model: str, revision: str) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    given: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    try:
        network = AutoModelForImageClassification.from_pretrained(model, use_safetensors=True, **given)
        return network.float().eval(), AutoImageProcessor.from_pretrained(model, **given)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no image classifier can be loaded from {model!r}: {error}") from error
