"""From prompts to attempts: draw, keep the pictures, let the judge look. The only place where the three meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

from PIL import Image

from ...concepts import Concept
from ...judges.base import Judge
from ...types import Attempt, Drawn, Prompt
from ..spec.variant import Variant

T = TypeVar("T")


def strength_of(prompt: Prompt) -> float | None:
    """The strength of image to image; None where a picture is made from noise alone. Batches share it."""
    return prompt.start.strength if prompt.start else None


class Draws(Protocol):
    """Whoever makes pictures: ``image_generator.ImageGenerator``, or another machine one day.

    ``identity`` names the model and its weights.
    """

    identity: str

    def draw(
        self, prompts: Sequence[Prompt], variant: Variant, concept: Concept, *, steps: int, guidance_scale: float
    ) -> list[Drawn]:
        """One batch: a picture for each prompt from the prompt's own seed."""
        ...

    def identity_of(self, variant: Variant, concept: Concept) -> list[str]:
        """What decides how the variant's guards act; nothing where there is none."""
        ...


def make_attempts(
    generator: Draws,
    judge: Judge,
    prompts: Sequence[Prompt],
    variant: Variant,
    concept: Concept,
    *,
    steps: int,
    guidance_scale: float,
    keep: Callable[[Prompt, Image.Image], str],
) -> list[Attempt]:
    """Draw one batch under a variant and judge it; ``keep`` saves a picture and says where."""
    drawn = generator.draw(prompts, variant, concept, steps=steps, guidance_scale=guidance_scale)
    return [
        Attempt(
            prompt=prompt,
            guard=variant.guard,
            variant=variant.variant,
            attack="direct",
            image=keep(prompt, picture.image) if picture.image else None,
            labels=labels,
            verdict=judge.verdict(labels, concept),
            acted=picture.acted,
            seconds=picture.seconds,
            peak_mib=picture.peak_mib,
        )
        for prompt, picture, labels in zip(prompts, drawn, judge.detect_drawn(drawn), strict=True)
    ]


def batches(rows: Sequence[T], size: int, alike: Callable[[T], object] = lambda row: None) -> Iterator[list[T]]:
    """Rows in order, at most ``size`` at a time; neighbours of one batch are ``alike``."""
    for _, group in groupby(rows, key=alike):
        same = list(group)
        yield from (same[start : start + size] for start in range(0, len(same), size))
