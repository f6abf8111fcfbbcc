"""An image generator and a judge that agree on colours, so that the harness is tested without a model.

Each object of a prompt is a stripe of its own colour; the guard "erase" leaves out what the concept forbids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from stanchion.benchmark.spec.variant import Variant
from stanchion.concepts import Concept
from stanchion.judges.base import Judge
from stanchion.reference import world
from stanchion.types import Drawn, Labels, Prompt

NAMES = list(world.OBJECTS)


class Painter:
    identity = "painter"

    def identity_of(self, variant, concept):
        return [variant.guard, str(variant.settings), concept.name] if variant.names else []

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def draw(
        self, prompts: Sequence[Prompt], variant: Variant, concept: Concept, *, steps: int, guidance_scale: float
    ) -> list[Drawn]:
        self.batches.append([f"{variant.guard} {prompt.text} {prompt.seed}" for prompt in prompts])
        return [self._one(prompt, variant, concept) for prompt in prompts]

    def _one(self, prompt: Prompt, variant: Variant, concept: Concept) -> Drawn:
        kept = [name for name in prompt.objects if not variant.names or name not in concept.labels]
        array = np.full((8, 8, 3), prompt.seed % 200, np.uint8)
        array[0, :, 0] = 255
        for row, name in enumerate(kept, 1):
            array[row, :, 0] = NAMES.index(name)
        array[3, :, 1] = len(kept)
        acted = {name: len(kept) < len(prompt.objects) for name in variant.names}
        return Drawn(Image.fromarray(array), acted, 0.5)


class Reader(Judge):
    name = "reader"
    version = "1"

    def look(self, images: list[Image.Image]) -> list[Labels]:
        return [self._one(np.asarray(image)) for image in images]

    def _one(self, array: np.ndarray) -> Labels:
        found = tuple(NAMES[array[row, 0, 0]] for row in range(1, 1 + int(array[3, 0, 1])))
        return Labels(found, "flat", "white", {name: float(name in found) for name in NAMES})
