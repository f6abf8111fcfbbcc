"""Published: prompts in the styles of artists who must survive, from ESD and UCE. MIT."""

from __future__ import annotations

from .base import PublishedPrompts


class ArtistsKept(PublishedPrompts):
    """The same files as for ``artists``: ``where: {artist: not Van Gogh}`` leaves out the one that is meant."""

    name = "artists_kept"
    role = "neighbours"
    source = "data/ of https://github.com/rohitgandikota/erasing or of rohitgandikota/unified-concept-editing"
    style = ("artist",)
