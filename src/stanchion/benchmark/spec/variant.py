"""What is compared: a guard, a stack, or several, in one form; and the unguarded pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from os.path import isdir
from typing import Any

from ... import registry
from ...files.names import check_name
from ...stacks.base import is_stack, spelled_out

UNGUARDED = "none"


@dataclass(frozen=True)
class Variant:
    """A guard, or several joined by ``+``, under the name of its settings; on all prompt sets, or on some only.

    Attributes:
        guard: names of guards and stacks, folders, ids on the Hub; or "none".
        settings: by guard, those that a stack gives to its guards included; what is given here counts before these.
    """

    guard: str
    variant: str = "default"
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("variant", self.variant)
        chosen = {guard: own for guard, own in spelled_out(self.names, self.settings).items() if own}
        object.__setattr__(self, "settings", {**self.settings, **chosen})  # a row says all that decided it

    @property
    def names(self) -> list[str]:
        """What stands between the ``+``; nothing where the pipeline is unguarded."""
        return [] if self.guard == UNGUARDED else self.guard.split("+")

    @property
    def title(self) -> str:
        """Short and unique, for columns."""
        return self.guard if self.variant == "default" else f"{self.guard}\n{self.variant}"


def is_saved(guard: str) -> bool:
    """Whether this is a saved guard's folder or its id on the Hub, and not a registered name, a stack's included."""
    named = registry.is_named("guards", guard) or is_stack(guard)  # before a folder that happens to be called so
    return bool(guard) and not named and ("/" in guard or isdir(guard))
