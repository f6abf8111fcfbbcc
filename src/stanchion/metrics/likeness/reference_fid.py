"""Fréchet distance between features of generated pictures and of renders of the same scenes. Not Inception's."""

from __future__ import annotations

import numpy as np

from ..features import Distance


def frechet(ours: np.ndarray, theirs: np.ndarray) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½) of two sets (N, D) and (M, D). (arXiv 1706.08500, equation 6.)

    NaN with fewer than two rows. With few it is too large, the more so the fewer: compare equal numbers only.
    """
    if min(len(ours), len(theirs)) < 2:
        return float("nan")
    one, other = (np.cov(rows, rowvar=False).reshape(rows.shape[1], -1) for rows in (ours, theirs))
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    crossed = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()  # of a symmetric matrix alike to C1 C2
    return float(np.square(ours.mean(0) - theirs.mean(0)).sum() + np.trace(one) + np.trace(other) - 2 * crossed)


class ReferenceFID(Distance):
    """FID with the reference world's own feature network in Inception's place: no number of a paper compares."""

    name = "reference_fid"
    between = staticmethod(frechet)
