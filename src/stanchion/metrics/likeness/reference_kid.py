"""Kernel distance between features of generated pictures and of renders of the same scenes. Unbiased."""

from __future__ import annotations

import numpy as np

from ..features import Distance
from ._distances import kernel


def kernel_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Squared MMD of two sets (N, D) with the kernel (x·y / D + 1)³. (arXiv 1801.01401, section 4.)

    Row i of both shows one scene, so pairs of one scene are left out between the sets as they are within each: else
    equal sets would come out below 0. (A. Gretton et al., JMLR 13, 2012, equation 4.) That is unbiased; it may be
    below 0 by chance. Over all rows at once, not over random subsets; NaN with fewer than two.
    """
    n = len(ours)
    if n < 2:
        return float("nan")
    one, other, between = (kernel(*pair) for pair in ((ours, ours), (theirs, theirs), (ours, theirs)))
    return float(_mean_of_different(one) + _mean_of_different(other) - 2 * _mean_of_different(between))


def _mean_of_different(pairs: np.ndarray) -> float:
    n = len(pairs)
    return (pairs.sum() - np.trace(pairs)) / (n * (n - 1))


class ReferenceKID(Distance):
    """KID with the reference world's own feature network in Inception's place: no number of a paper compares."""

    name = "reference_kid"
    between = staticmethod(kernel_distance)
