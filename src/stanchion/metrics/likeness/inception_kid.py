"""KID under its published definition, unbiased, against real pictures of yours. Extra `fid`, and the weights."""

from __future__ import annotations

from ..inception import InceptionDistance
from ._distances import squared_mmd


class InceptionKID(InceptionDistance):
    name = "inception_kid"
    between = staticmethod(squared_mmd)
