"""SteerDiff before a hardened denoiser and a moderating decoder: holds against whoever searches; costs companions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .base import NamedStack


class Maximum(NamedStack):
    name = "maximum"
    guards: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "patronus_hardening": {},
        "steerdiff": {},
        "patronus_moderator": {},
    }
