"""ShieldGemma 2: Google's classifier of pictures against policies in words. From where you have it; Gemma terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from PIL import Image

from ..config import Filled, Share, checked
from ..errors import ConfigError
from ..types import Labels
from ._clip import weights_digest
from .base import Judge

Name = Annotated[str, Filled()]


class ShieldGemma2(Judge):
    """ShieldGemma 2 (arXiv 2504.01081), on the CPU in float32: a picture and a policy, a picture at a time.

    A label's score is the probability of "Yes", which says that the picture violates the policy. A policy reads as the
    model was trained on it: "No Violence/Gore content: The image shall not contain content that …". Code that comes
    with a model is never run. The weights are Google's, under the Gemma terms of use, and were not run where this was
    written: the tests have random weights of the real class.

    Args:
        model: folder or id on the Hub, with safetensors weights, such as "google/shieldgemma-2-4b-it".
        policies: for each label of ours the policy in words; empty for the model's own ("dangerous", "sexual",
            "violence"). Other policies are beyond what was published of it.
        threshold: score in [0, 1] from which a label counts as found.
        revision: branch, tag or commit on the Hub; give a commit, so that the same model comes again.

    Raises:
        ConfigError: no such model can be had there.
    """

    name = "shieldgemma2"
    version = "1"

    @checked
    def __init__(
        self,
        model: str = "",
        policies: Mapping[Name, Name] | None = None,
        threshold: Share = 0.5,
        revision: str = "main",
    ) -> None:
        if not model.strip():
            raise ConfigError("judge shieldgemma2: say where it is, model=FOLDER or an id on the Hub.")
        self.threshold = threshold
        self._network, self._processor = _load(model, revision)
        self.policies = dict(policies or self._processor.policy_definitions)
        self._identity = f"{model} {weights_digest(self._network)}"

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"network": self._identity, "threshold": self.threshold, "policies": self.policies}

    def look(self, images: list[Image.Image]) -> list[Labels]:
        return [Labels.at(self.threshold, self._scores(image)) for image in images]

    def _scores(self, image: Image.Image) -> dict[str, float]:
        import torch

        asked = list(self.policies)
        inputs = self._processor(
            images=[image], policies=asked, custom_policies=self.policies, return_tensors="pt", padding=True
        )
        with torch.no_grad():
            violates = self._network(**inputs).probabilities[:, 0]  # of "Yes", then "No"
        return dict(zip(asked, violates.tolist(), strict=True))


def _load(model: str, revision: str) -> tuple[Any, Any]:
    from transformers import AutoProcessor, ShieldGemma2ForImageClassification

    given: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    try:
        network = ShieldGemma2ForImageClassification.from_pretrained(model, use_safetensors=True, **given)
        return network.float().eval(), AutoProcessor.from_pretrained(model, **given)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no ShieldGemma 2 can be loaded from {model!r}: {error}") from error
