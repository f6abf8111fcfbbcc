"""Fréchet distance between features of generated pictures and of renders of the same scenes. Not Inception's."""

from __future__ import annotations

from ..features import Distance
from ._distances import frechet


class ReferenceFID(Distance):
    """FID with the reference world's own feature network in Inception's place: no number of a paper compares."""

    name = "reference_fid"
    between = staticmethod(frechet)
