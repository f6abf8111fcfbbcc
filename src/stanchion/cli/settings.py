"""Settings as they are typed: KEY=VALUE, the value read as YAML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ConfigError
from ..files.documents import parse_yaml


def parse_values(assignments: Sequence[str]) -> dict[str, Any]:
    """``["steps=200"]`` as ``{"steps": 200}``.

    Raises:
        ConfigError: no KEY=VALUE, a value that is no YAML, or a key that is given twice.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not (equals and key):
            raise ConfigError(f"--set {assignment!r}: write KEY=VALUE, for example steps=200.")
        if key in values:
            raise ConfigError(f"--set {assignment!r}: {key} is given twice.")
        values[key] = parse_yaml(value, f"--set {assignment!r}")
    return values
