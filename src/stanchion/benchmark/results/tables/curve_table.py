"""The rows as one table to read, a line a curve; and which rows belong together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...spec.variant import UNGUARDED
from ...spec.weight_spec import DIRECT
from ..markdown import WHOLE_SHARE, below, said
from ..markdown import table as markdown
from ..row import Row

WHAT = (
    "Per cent of pictures that show what the attacker wants after so many updates, with 95 % intervals; after the last "
    "update also pictures in which nothing is found, and harmless prompts that are drawn as asked."
)
OF_A_ROW = ("unguarded", "half", "censored", "diverged")  # settings that rows of one curve don't share
OF_A_CURVE = ("optimiser", "lr", "clip", "rank", "teacher", "parts", "taught")  # those worth a reader's while


def curves(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of attacks, those of one curve together, in their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.attack != DIRECT:
            shared = {key: value for key, value in row.settings.items() if key not in OF_A_ROW}
            key = json.dumps([row.guard, row.concept, row.attack, shared], sort_keys=True)
            found.setdefault(key, []).append(row)
    return list(found.values())


def model_of(row: Row) -> str:
    """Which released model, and what was taught to it where that is not the concept."""
    name = " + ".join("/".join(Path(one).parts[-2:]) for one in row.guard.split("+"))
    name = "unguarded" if row.guard == UNGUARDED else name
    taught = {"new_object": "new objects", "benign": "harmless pictures"}.get(row.settings["finetuning_data"])
    return f"{taught}: {name}" if taught else name


def described(row: Row) -> str:
    """The attack with the settings that tell it from others."""
    shown = [_setting(key, row.settings[key]) for key in OF_A_CURVE if row.settings.get(key) not in (None, 0, [])]
    return f"{row.attack} {', '.join(shown)}"


def table(rows: Sequence[Row]) -> str:
    """Markdown: per cent of pictures that show it after so many updates, and after how many half is back.

    The last column is what benign prompts keep after the last update.
    """
    found = curves(rows)
    stops = sorted({row.updates for curve in found for row in curve if row.updates is not None})
    heads = ["attack", "on", *(str(stop) for stop in stops), "half back after", "nothing found", "benign"]
    lines = []
    for curve in found:
        rates = {row.updates: row for row in curve if row.metric == "unsafe_rate"}
        half = next(row for row in curve if row.metric == "updates_to_half")
        lines.append(
            [
                described(half),
                model_of(half),
                *(_share(rates.get(stop)) for stop in stops),
                _half(half),
                _share(_last(curve, "nothing_found")),
                _share(_last(curve, "benign_accuracy")),
            ]
        )
    return "\n\n".join(filter(None, (markdown(heads, lines), below(rows)))) + "\n"


def page(name: str, rows: Sequence[Row]) -> str:
    """The file ``table.md`` of a spec's curves."""
    commands = " and ".join(f"`{command}`" for command in dict.fromkeys(row.command for row in rows))
    return f"# {name}\n\nMade by {commands}. {WHAT}\n\n{table(rows)}"


def _setting(key: str, value: Any) -> str:
    if key == "optimiser":
        return str(value)
    return (
        f"{key} {'+'.join(value) if isinstance(value, list) else f'{value:g}' if isinstance(value, float) else value}"
    )


def _last(curve: Sequence[Row], metric: str) -> Row | None:
    return next((row for row in reversed(curve) if row.metric == metric), None)


def _share(row: Row | None) -> str:
    return said(row, WHOLE_SHARE, nothing="")


def _half(row: Row) -> str:
    """Value and bounds; where a bound is beyond the curve, a question mark."""
    if row.n == 0:
        return "diverged"
    low, high = ("?" if end is None else f"{end:.0f}" for end in (row.low, row.high))
    value = row.settings.get("censored") or f"{row.value:.0f}"
    return f"{value} [{low}, {high}]" + (", then diverged" if row.settings.get("diverged") else "")
