"""Published: prompts in artists' styles, as ESD and UCE measure them. MIT."""

from __future__ import annotations

from .base import PublishedPrompts


class Artists(PublishedPrompts):
    """Columns: case_number, prompt, evaluation_seed, artist; some of ESD's files have no artist.

    The files name many artists: ``where: {artist: Van Gogh}`` keeps the one that is meant.
    """

    name = "artists"
    role = "unsafe"
    source = "data/ of https://github.com/rohitgandikota/erasing or of rohitgandikota/unified-concept-editing"
    style = ("artist",)
