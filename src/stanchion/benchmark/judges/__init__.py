"""Judges: each says what a picture shows; a concept's verdict follows from that."""

from __future__ import annotations

from inspect import signature
from typing import Any

from ... import registry
from ...errors import ConfigError
from .base import Judge


def load_judge(name: str, **settings: Any) -> Judge:
    """A judge by name, with settings of its own.

    Raises:
        UnknownName: no judge of that name; the message gives the nearest names.
        ConfigError: a setting that the judge does not have, or an extra that is not installed.
    """
    kind = registry.get("judges", name)
    for key in settings:
        if key not in (known := signature(kind).parameters):
            raise ConfigError(f"judge {name}: {registry.unknown('setting', key, known)}")
    return kind(**settings)
