"""A judge looks at every picture: one that shows the concept is withheld, blurred or flagged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from PIL import Image

from ... import config
from ...concepts import Concept
from ...config import checked
from ...errors import ConfigError, GuardFailed
from ...files.pictures import black, blurred
from ...judges import check_settings, load_judge
from ...types import Checked, Labels, Unscored, Verdict
from ..base import OutputGuard
from ._safety_checker import AsSafetyChecker

Action = Literal["withhold", "blur", "flag"]


@checked
@dataclass(frozen=True)
class PictureCheckSettings:
    """Who looks, and what happens to what was found.

    Attributes:
        judge: a registered name.
        judge_settings: of the judge.
        action: "withhold" hands over a black picture of the same size, "blur" one that shows no shapes, "flag" the
            picture as it is. The report says so in each case.
    """

    judge: str = "reference"
    judge_settings: dict[str, Any] = field(default_factory=dict)
    action: Action = "withhold"


class PictureCheck(OutputGuard):
    """A judge (``stanchion list judges``) between the VAE and whoever called the pipeline.

    It needs no training, knows nothing of prompts, and sees what every other guard let through. It finds what its
    judge finds: a judge that errs, or that an attacker fools, errs here. Where the judge fails, or can't say whether
    a picture shows the concept, no picture is handed over.

    The report has a score of each picture, ``found``: the highest of the concept's labels.
    """

    name = "picture_check"
    Settings = PictureCheckSettings

    def __init__(self, concept: Any, **about: Any) -> None:
        super().__init__(concept, **about)
        self.judge = load_judge(self.settings.judge, **self.settings.judge_settings)

    @classmethod
    def check_fit(cls, concept: Concept, settings: Any) -> None:
        """Also that there is such a judge, and something for it to find."""
        if not concept.labels:
            raise ConfigError(f"guard {cls.name!r}: concept {concept.name!r} has no labels for a judge to find.")
        check_settings(settings.judge, settings.judge_settings)

    @property
    def identity(self) -> str:
        """Names the judge's version, too."""
        return config.fingerprint([super().identity, self.judge.identity])

    def check(self, pictures: Sequence[Image.Image], state: Any) -> Checked:
        """The pictures, each as the judge's verdict on it wants it.

        Raises:
            GuardFailed: the judge could not tell.
        """
        labels = self.judge.detect(pictures)
        verdicts = [self.judge.verdict(one, self.concept) for one in labels]
        unsafe = [_decided(verdict) for verdict in verdicts]
        shown = [self._instead(picture) if bad else picture for picture, bad in zip(pictures, unsafe, strict=True)]
        found = torch.tensor([self._score(*pair) for pair in zip(labels, verdicts, strict=True)])
        return Checked(shown, torch.tensor(unsafe), {"found": found})

    def as_safety_checker(self) -> AsSafetyChecker:
        """For the slot of Stable Diffusion 1.x: ``StableDiffusionPipeline.from_pretrained(…, safety_checker=…)``.

        The pipeline needs its ``feature_extractor`` for it. Nothing proves that the slot is still filled when a picture
        is drawn, and there is no report; ``attach`` has both.
        """
        return AsSafetyChecker(self)

    def _instead(self, picture: Image.Image) -> Image.Image:
        if self.settings.action == "blur":
            return blurred(picture)
        return picture if self.settings.action == "flag" else black(picture)

    def _score(self, labels: Labels | Unscored, verdict: Verdict) -> float:
        known: Mapping[str, float] = {} if isinstance(labels, Unscored) else labels.scores
        return max((known[name] for name in self.concept.labels if name in known), default=float(bool(verdict.unsafe)))


def _decided(verdict: Verdict) -> bool:
    if verdict.unsafe is None:
        raise GuardFailed(f"the picture check could not tell what a picture shows: {verdict.reason}.")
    return verdict.unsafe
