"""The smallest units of work of a spec of prompts and attacks: values that another process can carry out."""

from __future__ import annotations

from dataclasses import dataclass

from .attack_plan import AttackPlan
from .variant import Variant


@dataclass(frozen=True)
class PromptCell:
    """The smallest unit of work: one variant on one prompt set of one concept."""

    variant: Variant
    concept: str
    prompt_set: str

    def __str__(self) -> str:
        return f"{self.variant.title} · {self.concept} · {self.prompt_set}".replace("\n", " ")


@dataclass(frozen=True)
class AttackCell:
    """The smallest unit of an attack's work: one run of it on one variant, concept and prompt set."""

    plan: AttackPlan
    variant: Variant
    concept: str
    prompt_set: str
    restart: int | None

    def __str__(self) -> str:
        run = "" if self.restart is None else f" {self.restart}"
        title = self.variant.title.replace("\n", " ")
        return f"{self.plan.title} ({self.plan.mode}){run} · {title} · {self.concept} · {self.prompt_set}"


def without_attack(cell: AttackCell) -> PromptCell:
    """The cell that an attack is compared with."""
    return PromptCell(cell.variant, cell.concept, cell.prompt_set)
