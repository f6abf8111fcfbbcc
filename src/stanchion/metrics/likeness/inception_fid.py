"""FID under its published definition, against real pictures of yours. Extra `fid`, and Inception's weights."""

from __future__ import annotations

from ..inception import InceptionDistance
from ._distances import frechet


class InceptionFID(InceptionDistance):
    name = "inception_fid"
    between = staticmethod(frechet)
