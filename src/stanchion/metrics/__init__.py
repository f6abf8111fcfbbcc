"""Metrics: what is read from attempts, one file each, under what it asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import config, registry
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


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Raise for a setting that the metric does not have, or that is out of its range. No metric is made.

    Raises:
        UnknownName: no metric of that name.
        ConfigError: no setting of that name; the message gives the nearest names. Or it is no metric.
    """
    config.check_made(find_metric(name), settings, where=f"metric {name}")
