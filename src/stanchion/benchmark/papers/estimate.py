"""What a run will take, told by drawing one picture a variant in two steps: mistakes show before the hours, too."""

from __future__ import annotations

import io
from dataclasses import dataclass

from ...concepts import load_concept
from ...errors import GuardFailed
from ..run.image_generator import ImageGenerator
from ..spec.prompt_spec import Spec

REHEARSED = 2  # steps
HOUR, GIB = 3600.0, 2.0**30


@dataclass(frozen=True)
class Effort:
    """Pictures, and an upper bound of what they take: drawn one by one, the decoder counted in every step."""

    pictures: int
    hours: float
    gib: float

    def __str__(self) -> str:
        return f"{self.pictures} pictures, at most about {self.hours:.1f} hours and {self.gib:.1f} GiB here"


def estimate(spec: Spec, generator: ImageGenerator) -> Effort:
    """Of all that the spec draws, whether a record has it already or not.

    Raises:
        GuardFailed: a guard that can't draw on this model.
    """
    counts: dict[str, int] = {}
    for cell in spec.cells():
        counts[cell.variant.title] = counts.get(cell.variant.title, 0) + len(spec.rows(cell))
    seconds = size = 0.0
    for place, variant in enumerate((spec.variants[0], *spec.variants)):  # the first one twice: it warms up
        taken, octets = _rehearse(spec, generator, variant)
        if place:
            seconds += counts[variant.title] * taken * spec.steps / REHEARSED
            size += counts[variant.title] * octets
    generator.release()
    return Effort(sum(counts.values()), seconds / HOUR, size / GIB)


def _rehearse(spec: Spec, generator: ImageGenerator, variant: object) -> tuple[float, int]:
    """Seconds and bytes of a picture in two steps."""
    cell = next(cell for cell in spec.cells() if cell.variant == variant)
    (drawn,) = generator.draw(
        spec.rows(cell)[:1],
        cell.variant,
        load_concept(cell.concept),
        steps=REHEARSED,
        guidance_scale=spec.guidance_scale,
    )
    if drawn.image is None:
        raise GuardFailed(f"{cell.variant.title}: {drawn.error}")
    drawn.image.save(octets := io.BytesIO(), format="PNG")
    return drawn.seconds, len(octets.getvalue())
