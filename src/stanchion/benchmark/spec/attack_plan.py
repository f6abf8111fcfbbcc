"""What a spec says of attacks: which, on which prompts, against which guards, and how they are run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ...config import Count, Filled, Natural, checked
from ...errors import ConfigError
from ...files.names import check_name
from ...types import Budget

DIRECT = "direct"


@checked
@dataclass(frozen=True)
class AttackPlan:
    """One attack of a benchmark.

    Attributes:
        attack: its registered name.
        mode: "adaptive" runs it on each guarded pipeline; "static" finds candidates on the unguarded one, once, and
            replays them on each guarded one.
        prompts: prompt sets, and how many rows of each.
        variant: names these settings where the same attack is run with others as well.
        preset, settings: of the attack.
        guards: which variants of the spec, by guard; empty for all.
        restarts: runs of a universal attack with other randomness; intervals are clustered by them.
        learn_from: rows of the same prompt set, behind those that are attacked, that a universal attack learns from;
            0 for the attacked ones themselves.
        budget: for each prompt; a universal attack's learning has one of its own.
    """

    attack: str
    mode: Literal["adaptive", "static"]
    prompts: Annotated[dict[str, Natural], Filled()]
    variant: str = "default"
    preset: str = "default"
    settings: dict[str, Any] = field(default_factory=dict)
    guards: tuple[str, ...] = ()
    restarts: Natural = 1
    learn_from: Count = 0
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        check_name("variant", self.variant)
        if self.attack == DIRECT:
            raise ConfigError("spec: the attack 'direct' is what every set under 'prompts' measures; leave it out.")

    @property
    def title(self) -> str:
        """Short and unique beside the mode: what the record calls the attack."""
        return self.attack if self.variant == "default" else f"{self.attack} {self.variant}"

    @property
    def runs(self) -> list[int | None]:
        """The restarts by number; None where there is only one run."""
        return [None] if self.restarts == 1 else list(range(self.restarts))
