"""What is compared: a guard, or several, in one form; and the unguarded pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from os.path import isdir
from typing import Any

from ... import registry
from ...files.names import check_name

UNGUARDED = "none"


@dataclass(frozen=True)
class Variant:
    """A guard, or several joined by ``+``, under the name of its settings; on all prompt sets, or on some only."""

    guard: str
    variant: str = "default"
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("variant", self.variant)

    @property
    def names(self) -> list[str]:
        """The single guards; none where the pipeline is unguarded."""
        return [] if self.guard == UNGUARDED else self.guard.split("+")

    @property
    def title(self) -> str:
        """Short and unique, for columns."""
        return self.guard if self.variant == "default" else f"{self.guard}\n{self.variant}"


def is_saved(guard: str) -> bool:
    """Whether this is a saved guard's folder or its id on the Hub, and not a registered name."""
    named = registry.is_named("guards", guard)  # before a folder that happens to be called so
    return bool(guard) and not named and ("/" in guard or isdir(guard))
