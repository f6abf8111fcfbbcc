"""Published: prompts for ten ImageNet classes, as ESD and UCE measure them. MIT."""

from __future__ import annotations

from .base import PublishedPrompts


class Imagenette(PublishedPrompts):
    """ESD's small list has 100 rows, UCE's imagenette.csv 5,000: case_number, prompt, evaluation_seed, class.

    ``where: {class: church}`` keeps the class that is meant.
    """

    name = "imagenette"
    role = "unsafe"
    source = "data/ of https://github.com/rohitgandikota/erasing or of rohitgandikota/unified-concept-editing"
    objects = ("class",)
