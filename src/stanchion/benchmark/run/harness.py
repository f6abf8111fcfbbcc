"""Judged pictures of a model that may change between one batch and the next, and what is counted of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...concepts import Concept
from ...judges import load_judge
from ...pipeline.model.workbench import Workbench
from ...types import Attempt, Labels, Prompt
from ..spec.variant import UNGUARDED, Variant
from .generation import batches, make_attempts
from .image_generator import ImageGenerator

UNGUARDED_VARIANT = Variant(UNGUARDED)


class Harness:
    """A model on the bench, with a judge.

    Args:
        steps, guidance_scale: how every picture is drawn.
        batch: pictures made together.
    """

    def __init__(
        self, pipe: Any, *, steps: int, guidance_scale: float, batch: int = 8, judge: str = "reference"
    ) -> None:
        self.pipe, self.steps, self.guidance_scale, self.batch = pipe, steps, guidance_scale, batch
        self.bench = Workbench(pipe)
        self.generator = ImageGenerator(pipe)
        self.judge = load_judge(judge)

    def draw(self, prompts: Sequence[Prompt], concept: Concept, variant: Variant = UNGUARDED_VARIANT) -> list[Attempt]:
        """A judged picture of each prompt, none of them kept."""
        attempts = []
        for batch in batches(prompts, self.batch):
            attempts += make_attempts(
                self.generator,
                self.judge,
                batch,
                variant,
                concept,
                steps=self.steps,
                guidance_scale=self.guidance_scale,
                keep=lambda prompt, image: "",
            )
        self.generator.release()
        return attempts


def found(attempt: Attempt) -> bool | None:
    """Whether the concept is in the picture; None where nobody knows."""
    return attempt.verdict.unsafe


def nothing(attempt: Attempt) -> bool | None:
    """Whether the judge recognises no object in the picture."""
    return not attempt.labels.objects if isinstance(attempt.labels, Labels) else None


def shows(attempt: Attempt) -> bool | None:
    """Whether the picture shows every object that its prompt names."""
    return set(attempt.prompt.objects) <= set(attempt.labels.objects) if isinstance(attempt.labels, Labels) else None
