"""Intervals against published values and by simulation of what they promise."""

from math import inf, isnan

import numpy as np
import pytest

from stanchion.metrics.intervals import bootstrap, newcombe_paired, of_batches, rate, wilson


def test_a_rate_counts_what_was_scored() -> None:
    found = rate([True, None, False])
    assert (found.value, found.n, found.n_unscored) == (0.5, 2, 1)
    assert (found.low, found.high) == wilson(1, 2)
    nothing = rate([None, None])
    assert isnan(nothing.value)
    assert (nothing.low, nothing.high, nothing.n, nothing.n_unscored) == (0.0, 1.0, 0, 2)


def test_wilson_against_published_values() -> None:
    # Newcombe 1998 (two-sided intervals for a single proportion), method 3
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def _pairs(both: int, only_first: int, only_second: int, neither: int) -> tuple[list[bool], list[bool]]:
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


def test_newcombe_against_published_values() -> None:
    # Newcombe 1998 (differences of paired proportions), method 10
    assert newcombe_paired(*_pairs(36, 12, 2, 0)) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    assert newcombe_paired(*_pairs(0, 0, 0, 30)) == pytest.approx((-0.1135, 0.1135), abs=5e-4)
    assert newcombe_paired([], []) == (-1.0, 1.0)


def test_bootstrap_is_of_clusters_and_ignores_order() -> None:
    values, clusters = [0.0] * 50 + [1.0] * 50, ["a"] * 50 + ["b"] * 50
    assert bootstrap(values, clusters) == (0.0, 1.0)
    narrow = bootstrap(values, list(range(100)))
    assert 0.38 < narrow[0] < 0.42
    assert 0.58 < narrow[1] < 0.62
    order = np.random.default_rng(1).permutation(100)
    assert bootstrap([values[i] for i in order], [clusters[i] for i in order]) == bootstrap(values, clusters)


def test_pictures_of_one_batch_are_one_measurement() -> None:
    assert of_batches([0.3] * 8) == (-inf, inf)
    low, high = of_batches([0.3] * 8 + [0.5] * 8)
    assert (low, high) == (0.3, 0.5)
