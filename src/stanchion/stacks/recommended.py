"""SteerDiff for the words, a monitor for the picture, and ForceForget where either of them finds the concept near."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import NamedStack


class Recommended(NamedStack):
    name = "recommended"
    guards: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "steerdiff": {},
        "forceforget": {"when": "flagged_or_monitor"},
        "monitor": {},
    }
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "monitor": {"soft_prompts": 1, "guards": {"steerdiff": {}, "forceforget": {}}}
    }
