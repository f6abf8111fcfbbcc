"""95 % intervals: Wilson for a rate, Newcombe for a paired difference of rates, bootstrap over clusters for a mean.

And the jackknife over clusters, for distances between sets.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import nan, sqrt

import numpy as np

from ..types import Estimate

Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution
RESAMPLES = 2000


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of hits / n; (0, 1) where n is 0. (E. B. Wilson, 1927.)"""
    if n == 0:
        return 0.0, 1.0
    rate, scale = hits / n, 1 + Z**2 / n
    centre = (rate + Z**2 / (2 * n)) / scale
    half = Z / scale * sqrt(rate * (1 - rate) / n + Z**2 / (4 * n**2))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (0.0 if hits == 0 else low), (1.0 if hits == n else high)


def rate(hits: Sequence[bool | None]) -> Estimate:
    """A share with its Wilson interval; None is unscored. Of nothing it is no number."""
    scored = [hit for hit in hits if hit is not None]
    value = sum(scored) / len(scored) if scored else nan
    return Estimate(value, *wilson(sum(scored), len(scored)), len(scored), len(hits) - len(scored))


def newcombe_paired(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float]:
    """Interval of mean(first) - mean(second) for paired yes/no values. (R. G. Newcombe, 1998, method 10.)

    Unlike a bootstrap it is not of width 0 where no pair differs.
    """
    n = len(first)
    if n == 0:
        return -1.0, 1.0
    both = sum(a and b for a, b in zip(first, second, strict=True))
    only_first, only_second = sum(first) - both, sum(second) - both
    neither = n - both - only_first - only_second
    (low1, high1), (low2, high2) = wilson(sum(first), n), wilson(sum(second), n)
    p1, p2 = sum(first) / n, sum(second) / n
    phi = _phi(both, only_first, only_second, neither)
    low = p1 - p2 - sqrt(max(0.0, (p1 - low1) ** 2 - 2 * phi * (p1 - low1) * (high2 - p2) + (high2 - p2) ** 2))
    high = p1 - p2 + sqrt(max(0.0, (high1 - p1) ** 2 - 2 * phi * (high1 - p1) * (p2 - low2) + (p2 - low2) ** 2))
    return low, high


def _phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - only_first * only_second
    n = both + only_first + only_second + neither
    return (max(cross - n / 2, 0.0) if cross > 0 else cross) / sqrt(margins)


def bootstrap(values: Sequence[float], clusters: Sequence[Hashable]) -> tuple[float, float]:
    """Interval of the mean of ``values``, whole clusters drawn with replacement; seeded, so always the same.

    Pictures of one object from one template are alike: to count them as independent would make it too narrow.
    """
    if not values:
        return float("-inf"), float("inf")
    names = sorted(set(clusters), key=repr)
    place = {name: index for index, name in enumerate(names)}
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    for value, cluster in sorted(zip(values, clusters, strict=True), key=repr):
        sums[place[cluster]] += value
        counts[place[cluster]] += 1
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def of_batches(values: Sequence[float]) -> tuple[float, float]:
    """Interval of the mean of what is measured once a batch, and told of each of its pictures.

    Equal values are one measurement; of one alone nobody knows how much it may be off.
    """
    return bootstrap(values, values) if len(set(values)) > 1 else bootstrap([], [])


def jackknife(
    statistic: Callable[[np.ndarray], float], clusters: Sequence[Hashable], value: float
) -> tuple[float, float]:
    """Interval of a set's statistic around its ``value``, by leaving out one cluster at a time. (J. W. Tukey, 1958.)

    For distances between sets of pictures: a bootstrap would draw a picture twice, which they take for a difference.

    Args:
        statistic: of the rows that it is given the indices of.
        clusters: of each row; with fewer than two the interval is (-inf, inf).
    """
    names = sorted(set(clusters), key=repr)
    if len(names) < 2:
        return float("-inf"), float("inf")
    every = np.array([names.index(cluster) for cluster in clusters])
    without = np.array([statistic(np.flatnonzero(every != place)) for place in range(len(names))])
    half = Z * sqrt((len(names) - 1) / len(names) * float(np.square(without - without.mean()).sum()))
    return value - half, value + half


def wider(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The span of two intervals of a difference of rates, within [-1, 1]."""
    return max(-1.0, min(one[0], other[0])), min(1.0, max(one[1], other[1]))
