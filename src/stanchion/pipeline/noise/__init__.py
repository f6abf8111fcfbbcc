"""The noise process of a scheduler: the only place with arithmetic on noise levels."""

from __future__ import annotations

from typing import Any

from .base import Level, NoiseProcess
from .flow import Flow
from .regression import Regression, regression_of
from .stochastic import StochasticDDIM, StochasticFlow, StochasticSteps
from .vp import VariancePreserving

__all__ = [
    "Level",
    "NoiseProcess",
    "Regression",
    "StochasticDDIM",
    "StochasticFlow",
    "StochasticSteps",
    "process_of",
    "regression_of",
]


def process_of(scheduler: Any) -> NoiseProcess:
    """The process that a scheduler reverses; by its own configuration, whatever the family.

    Raises:
        UnsupportedPipeline: EDM, or a prediction that neither process knows.
    """
    return Flow(scheduler) if Flow.fits(scheduler) else VariancePreserving(scheduler)
