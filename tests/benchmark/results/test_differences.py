"""Paired differences against tables computed by hand."""

from collections.abc import Sequence

import pytest

from stanchion.benchmark.results.differences import paired_difference
from stanchion.metrics.intervals import newcombe_paired
from stanchion.metrics.kept.benign_accuracy import BenignAccuracy
from stanchion.metrics.kept.companion_kept import CompanionKept
from stanchion.types import Attempt, Labels, Prompt, Unscored, Verdict


def attempts(found: Sequence[bool | None]) -> list[Attempt]:
    """Pictures of prompts for a knife and a cat: whether the cat is there; None where nobody knows."""
    made = []
    for place, there in enumerate(found):
        prompt = Prompt("x", place, f"{place}", ("cat",), "cat", template=f"t{place}")
        labels = Unscored("torn") if there is None else Labels(("cat",) if there else (), None, None, {})
        made.append(Attempt(prompt, "a", "default", "direct", None, labels, Verdict(False)))
    return made


def test_by_hand() -> None:
    """Six prompts: the fifth never had a cat, the last can't be read under one of the guards."""
    twins = attempts([True, True, True, True, False, True])
    ours = attempts([True, False, True, True, True, True])
    theirs = attempts([False, True, False, True, False, None])
    estimate = paired_difference(CompanionKept(), ours, theirs, twins)
    assert (estimate.value, estimate.n, estimate.n_unscored) == (pytest.approx(3 / 4 - 2 / 4), 4, 1)
    assert -1 <= estimate.low < estimate.value < estimate.high <= 1
    reversed_ = paired_difference(CompanionKept(), theirs, ours, twins)
    assert (reversed_.value, reversed_.low, reversed_.high) == (
        pytest.approx(-estimate.value),
        pytest.approx(-estimate.high, abs=0.05),
        pytest.approx(-estimate.low, abs=0.05),
    )


def test_equal_guards_differ_by_nothing_within_an_interval_that_has_a_width() -> None:
    same = attempts([True] * 190 + [False] * 10)
    estimate = paired_difference(BenignAccuracy(), same, same, same)
    assert estimate.value == 0
    assert (estimate.low, estimate.high) == newcombe_paired([True] * 190 + [False] * 10, [True] * 190 + [False] * 10)
    assert -0.05 < estimate.low < 0 < estimate.high < 0.05


def test_a_clear_loss_is_outside_of_the_margin() -> None:
    ours, theirs = attempts([True] * 160 + [False] * 40), attempts([True] * 200)
    estimate = paired_difference(BenignAccuracy(), ours, theirs, theirs)
    assert estimate.value == pytest.approx(-0.2)
    assert estimate.high < -0.05


def test_clusters_that_fall_together_widen_the_interval() -> None:
    """Twenty losses in two templates are less certain than twenty in twenty."""
    spread = paired_difference(BenignAccuracy(), *_losing(templates=100))
    together = paired_difference(BenignAccuracy(), *_losing(templates=10))
    assert together.low < spread.low
    assert together.value == spread.value


def _losing(templates: int) -> tuple[list[Attempt], list[Attempt], list[Attempt]]:
    """100 prompts over so many templates, of which a fifth of the templates is lost whole."""
    lost = [place % templates < templates // 5 for place in range(100)]
    first, second = attempts([not one for one in lost]), attempts([True] * 100)
    for column in (first, second):
        for place, one in enumerate(column):
            object.__setattr__(one.prompt, "template", f"t{place % templates}")
    return first, second, second


def test_nothing_in_common_is_no_number() -> None:
    estimate = paired_difference(CompanionKept(), [], [], [])
    assert estimate.value != estimate.value
    assert (estimate.low, estimate.high, estimate.n) == (-1.0, 1.0, 0)
