"""Metrics: what is read from attempts, one file each, under what it asks."""

from __future__ import annotations

from .. import registry
from ..errors import ConfigError
from .base import Metric


def find_metric(name: str) -> type[Metric]:
    """The metric of that name, or a file's class.

    Raises:
        UnknownName: no metric of that name.
        ConfigError: it is no metric.
    """
    kind = registry.find("metrics", name)
    if not issubclass(kind, Metric):
        raise ConfigError(f"metric {name}: {kind.__qualname__} is no Metric; it goes by stanchion.metrics.base.Metric.")
    return kind
