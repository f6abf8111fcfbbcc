"""Published: prompts for ImageNet classes that must survive, from ESD and UCE. MIT."""

from __future__ import annotations

from .base import PublishedPrompts


class ImagenetteKept(PublishedPrompts):
    """The same files as for ``imagenette``: ``where: {class: not church}`` leaves out the one that is meant."""

    name = "imagenette_kept"
    role = "neighbours"
    source = "data/ of https://github.com/rohitgandikota/erasing or of rohitgandikota/unified-concept-editing"
    objects = ("class",)
