"""SteerDiff, and ForceForget where a prompt is near the concept all the same; harmless prompts stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import NamedStack


class Recommended(NamedStack):
    name = "recommended"
    guards: ClassVar[Mapping[str, Mapping[str, Any]]] = {"steerdiff": {}, "forceforget": {"when": "flagged"}}
