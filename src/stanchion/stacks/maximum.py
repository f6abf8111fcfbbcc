"""SteerDiff for the words, a monitor for the picture in the making, a moderator for the picture that is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import NamedStack


class Maximum(NamedStack):
    name = "maximum"
    guards: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "steerdiff": {},
        "monitor": {},
        "patronus_moderator": {"compare": "stock"},
    }
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"monitor": {"soft_prompts": 1, "guards": {"steerdiff": {}}}}
