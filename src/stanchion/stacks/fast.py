"""SteerDiff alone: trained in a minute or a few, nothing to pay and nothing lost on harmless prompts; words only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import NamedStack


class Fast(NamedStack):
    name = "fast"
    guards: ClassVar[Mapping[str, Mapping[str, Any]]] = {"steerdiff": {}}
