"""Paired differences between two guards, prompt by prompt from the same seed: what non-inferiority is read from."""

from __future__ import annotations

from collections.abc import Sequence

from ...metrics.base import Rate, cluster_of
from ...metrics.intervals import bootstrap, newcombe_paired, wider
from ...types import Attempt, Estimate, Unscored

COMPARED = ("companion_kept", "neighbours_kept", "benign_accuracy")


def paired_difference(
    metric: Rate,
    first: Sequence[Attempt],
    second: Sequence[Attempt],
    twins: Sequence[Attempt],
    second_twins: Sequence[Attempt] | None = None,
) -> Estimate:
    """The rate of ``first`` minus that of ``second``, in [-1, 1].

    The interval is the wider of Newcombe's paired one and a bootstrap clustered by object, style and template.

    Args:
        first, second, twins: attempts of the same prompts and seeds, in the same order: of one guard, of the other,
            and without a guard.
        second_twins: the second's own unguarded attempts, where it was measured with another model.

    Only pairs in which both have a say count; ``n_unscored`` counts those where nobody knows of one of them.
    """
    ours: list[bool] = []
    theirs: list[bool] = []
    clusters, unscored = [], 0
    for one, other, twin, second_twin in zip(first, second, twins, second_twins or twins, strict=True):
        values = metric.score(one, twin), metric.score(other, second_twin)
        if any(isinstance(value, Unscored) for value in values):
            unscored += 1
        elif None not in values:
            ours.append(bool(values[0]))
            theirs.append(bool(values[1]))
            clusters.append(cluster_of(one.prompt))
    change = [float(a) - float(b) for a, b in zip(ours, theirs, strict=True)]
    low, high = wider(newcombe_paired(ours, theirs), bootstrap(change, clusters))
    return Estimate(sum(change) / len(change) if change else float("nan"), low, high, len(change), unscored)
