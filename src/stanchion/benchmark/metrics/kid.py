"""Kernel distance between features of generated pictures and of renders of the same scenes. Unbiased for few, too."""

from __future__ import annotations

import numpy as np

from ._features import Distance


def kernel_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Unbiased squared MMD of two sets (N, D) and (M, D), kernel (x·y / D + 1)³. (arXiv 1801.01401, section 4.)

    Over all rows at once, not over random subsets. It may be below 0; NaN with fewer than two rows.
    """
    n, m = len(ours), len(theirs)
    if min(n, m) < 2:
        return float("nan")
    own, other = _kernel(ours, ours), _kernel(theirs, theirs)
    within = (own.sum() - np.trace(own)) / (n * (n - 1)) + (other.sum() - np.trace(other)) / (m * (m - 1))
    return float(within - 2 * _kernel(ours, theirs).mean())


def _kernel(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return (ours @ theirs.T / ours.shape[1] + 1) ** 3


class KID(Distance):
    """KID with the reference world's own feature network in Inception's place: no number of a paper compares."""

    name = "kid"
    between = staticmethod(kernel_distance)
