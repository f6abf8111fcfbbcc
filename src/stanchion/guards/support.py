"""Which guard stands on which pipeline, and why not: the matrix that ``stanchion list families`` prints.

It is read off what families offer and guards need, which is what decides when a guard is attached; the contract test
walks the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import registry
from ..pipeline.families import WISHES, Family, families
from .base import Guard

UNTRAINED = "no recipe here trains it for this family: it stands with tensors that were made elsewhere"


@dataclass(frozen=True)
class Support:
    """One guard on one pipeline class.

    Attributes:
        kind: the pipeline class, which stands for a task of the family.
        state: "works", "variant" (it works, and ``why`` says what is different) or "refused" (when it is attached).
    """

    family: Family
    kind: str
    guard: type[Guard]
    state: str
    why: str = ""


def support(family: Family, kind: str, guard: type[Guard]) -> Support:
    """What becomes of a guard with its usual settings on a pipeline class."""
    if reason := family.refusal(guard, kind):
        return Support(family, kind, guard, "refused", reason)
    missed = [WISHES[wish] for wish in guard.wishes if wish not in family.offers]
    differs = "" if guard.watches else family.variants.get(str(guard.stage), "")
    notes = [differs, *missed, UNTRAINED if _needs_training(family, guard) else ""]
    why = "; ".join(filter(None, notes))
    return Support(family, kind, guard, "variant" if why else "works", why)


def _needs_training(family: Family, guard: type[Guard]) -> bool:
    """Whether a guard is trained, and nothing here trains it for this family."""
    return guard.trained and not set(guard.learns_on) <= set(family.offers)


def table() -> list[Support]:
    """Every registered guard on every pipeline class of every registered family."""
    guards = [registry.get("guards", name) for name in registry.names("guards")]
    return [support(family, kind, guard) for family in families() for kind in family.classes for guard in guards]


def markdown() -> str:
    """The matrix, a line a pipeline class, and what its numbers mean."""
    rows = table()
    guards = list(dict.fromkeys(row.guard.name for row in rows))
    notes = {why: place for place, why in enumerate(dict.fromkeys(row.why for row in rows if row.why), 1)}
    lines = [f"| pipeline | {' | '.join(guards)} |", f"|---|{'---|' * len(guards)}"]
    for kind in dict.fromkeys(row.kind for row in rows):
        cells = [_cell(row, notes) for row in rows if row.kind == kind]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    meaning = [f"{place}. {why}." for why, place in notes.items()]
    return "\n".join(
        [
            *lines,
            "",
            "yes: it works; yes and a number: it works as the note says; no: refused when it is attached.",
            "",
            *meaning,
        ]
    )


def _cell(row: Support, notes: dict[str, int]) -> str:
    word = "no" if row.state == "refused" else "yes"
    return f"{word} ({notes[row.why]})" if row.why else word
