"""Judges: each says what a picture shows; a concept's verdict follows from that."""

from __future__ import annotations

from typing import Any

from ... import registry
from .base import Judge


def load_judge(name: str, **settings: Any) -> Judge:
    """A judge by name, with settings of its own.

    Raises:
        UnknownName: no judge of that name; the message gives the nearest names.
    """
    return registry.get("judges", name)(**settings)
