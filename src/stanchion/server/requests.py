"""What is asked of the service, and what it answers."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..limits import LAST

if TYPE_CHECKING:
    from PIL import Image

STEP = 8  # pixels: what diffusers' pipelines draw is a multiple of it
ANOTHER = 1_000_003  # from a seed to the next one that "regenerate" tries


@dataclass(frozen=True)
class Ask:
    """One request for pictures.

    Attributes:
        prompt, negative: the texts.
        count: pictures.
        width, height: in pixels, multiples of 8; of ``image`` where there is one.
        seed: of the first picture, the next ones follow; a seed is a request's own, whoever waits beside it.
        steps, guidance_scale: of the drawing.
        image, mask, strength: to begin with, for image to image and inpainting; what is white in ``mask`` is redrawn.
        key: name of who asks.
        user: who asks there, as they say, never in plain words.
        id: as the log and the answer name it.
    """

    prompt: str
    width: int
    height: int
    seed: int
    steps: int = 20
    guidance_scale: float = 4.0
    count: int = 1
    negative: str = ""
    image: Image.Image | None = None
    mask: Image.Image | None = None
    strength: float = 0.8
    key: str = ""
    user: str = ""
    id: str = field(default_factory=lambda: f"req_{secrets.token_hex(12)}")

    @property
    def task(self) -> str:
        """Which pipeline draws it."""
        return "text" if self.image is None else "image" if self.mask is None else "inpaint"

    @property
    def alike(self) -> tuple[object, ...]:
        """What must be the same within a batch."""
        return (self.task, self.width, self.height, self.steps, self.guidance_scale, self.strength)

    @property
    def work(self) -> float:
        """Of one of its pictures: pixels times denoising steps."""
        return self.width * self.height * self.steps * (1.0 if self.image is None else self.strength)

    @property
    def noted(self) -> Mapping[str, object]:
        """What else the audit log is told of it."""
        return {}


@dataclass(frozen=True)
class Shot:
    """One picture of a request, at a place among its pictures, tried for the ``again``-th time after the first."""

    ask: Ask
    place: int
    again: int = 0

    @property
    def seed(self) -> int:
        """Its own."""
        return (self.ask.seed + self.place + self.again * ANOTHER) % (LAST + 1)


@dataclass(frozen=True)
class GuardFinding:
    """That a guard acted on a picture: where, about what, its scores there, and what the policy does then."""

    stage: str
    guard: str
    concept: str
    action: str
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A picture as it is handed out, its seed, and what was found."""

    image: Image.Image
    seed: int
    findings: tuple[GuardFinding, ...] = ()

    @property
    def said(self) -> tuple[GuardFinding, ...]:
        """What whoever asked is told."""
        return tuple(finding for finding in self.findings if finding.action != "steer")


@dataclass(frozen=True)
class Answer:
    """The pictures of one request."""

    pictures: tuple[Picture, ...]
    seconds: float


@dataclass(frozen=True)
class Seen:
    """What the guards say of a text or picture that nobody asks to draw: scores by concept, and what was found."""

    scores: Mapping[str, float]
    found: frozenset[str]
