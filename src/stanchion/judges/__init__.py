"""Judges: each says what a picture shows; a concept's verdict follows from that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import config, registry
from ..errors import ConfigError
from .base import Judge


def load_judge(name: str, **settings: Any) -> Judge:
    """A judge by name, or by its file and class (``my_judge.py:Redness``), with settings of its own.

    Raises:
        UnknownName: no judge of that name; the message gives the nearest names.
        ConfigError: a setting that the judge does not have, or an extra that is not installed.
    """
    check_settings(name, settings)
    return registry.find("judges", name)(**settings)


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Raise for a setting that the judge does not have, or that is out of its range. No judge is loaded.

    Raises:
        UnknownName: no judge of that name.
        ConfigError: no setting of that name; the message gives the nearest names. Or no judge is behind the name.
    """
    kind = registry.find("judges", name)
    if not issubclass(kind, Judge):
        raise ConfigError(f"judge {name}: {kind.__module__}.{kind.__qualname__} is no Judge.")
    config.check_made(kind, settings, where=f"judge {name}")
