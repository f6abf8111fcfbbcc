"""Distances between two sets of features, as papers define them."""

from __future__ import annotations

import numpy as np

BLOCK = 2048  # rows whose kernel is in memory at once


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


def squared_mmd(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Unbiased squared MMD of two independent sets (N, D) and (M, D) with KID's kernel. (arXiv 1801.01401, section 4.)

    Over all rows at once: what others' means over random subsets are an estimate of. It may be below 0 by chance; NaN
    with fewer than two rows.
    """
    if min(len(ours), len(theirs)) < 2:
        return float("nan")
    between = _total(ours, theirs) / (len(ours) * len(theirs))
    return _of_different(ours) + _of_different(theirs) - 2 * between


def kernel(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(x·y / D + 1)³ of each row of one with each of the other: (N, M)."""
    return (ours @ theirs.T / ours.shape[1] + 1) ** 3


def _of_different(rows: np.ndarray) -> float:
    """The kernel's mean over pairs of two rows."""
    alike = ((np.square(rows).sum(1) / rows.shape[1] + 1) ** 3).sum()
    return float(_total(rows, rows) - alike) / (len(rows) * (len(rows) - 1))


def _total(ours: np.ndarray, theirs: np.ndarray) -> float:
    parts = (ours[start : start + BLOCK] for start in range(0, len(ours), BLOCK))
    return float(sum(kernel(part, theirs).sum() for part in parts))
