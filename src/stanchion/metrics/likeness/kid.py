"""KID under its published definition, unbiased, against real pictures of yours. Extra `fid`, and the weights."""

from __future__ import annotations

from ..inception import InceptionDistance
from ._distances import squared_mmd


class KID(InceptionDistance):
    name = "kid"
    between = staticmethod(squared_mmd)
