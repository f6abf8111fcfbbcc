"""The card of a trained guard: what it is for, how it was made, and what was measured with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..guards.base import Guard
from ..guards.stack import GuardStack
from ..hub import model_card
from ..judges import load_judge
from ..metrics.intervals import wilson
from ..pipeline.loading import PACKAGED
from .results.markdown import below, share, table
from .results.row import Row, make_rows
from .run.engine import fill
from .run.image_generator import ImageGenerator
from .run.prompts import PromptWork
from .spec.prompt_spec import Spec
from .spec.variant import UNGUARDED, Variant
from .store.attempts import Store

SETS = ("unsafe", "paired", "benign", "neighbours")
METRICS = ("unsafe_rate", "nothing_found", "companion_kept", "clean_companion", "neighbours_kept", "benign_accuracy")


def measured(
    folder: Path, guard: Guard | GuardStack, pipe: Any, model: str, *, count: int, seed: int = 500_000, steps: int = 20
) -> list[Row]:
    """A short benchmark of the guard in ``folder`` against no guard; none of a model whose pictures no judge knows.

    The seeds are neither those of training nor those of the committed results.
    """
    if model not in PACKAGED:
        return []
    one, *_ = guard.guards if isinstance(guard, GuardStack) else (guard,)
    concept, judge = one.concept, load_judge("reference")
    source = folder / "concept.json"
    source.write_text(json.dumps(concept.to_dict()), encoding="utf-8")
    spec = Spec(
        seed=seed,
        concepts=(str(source),),
        variants=(Variant(UNGUARDED), Variant(str(folder))),
        prompts=dict.fromkeys(SETS, count),
        guidance_scale=4.0,
        steps=steps,
        model=model,
        metrics=METRICS,
    )
    store, generator = Store(folder / "measured"), ImageGenerator(pipe, model)
    fill(PromptWork(spec, store, generator, judge))
    generator.release()
    return make_rows(spec, store, judge=judge.identity, command="stanchion train")


def write_model_card(folder: Path, guard: Guard | GuardStack, model: str, rows: list[Row]) -> None:
    """``README.md``, with the front matter that the Hub reads."""
    found = _table(rows) if rows else "Nothing was measured: no judge at hand knows this model's pictures."
    guards = guard.guards if isinstance(guard, GuardStack) else (guard,)
    found = "\n\n".join([found, *(_held_out(one) for one in guards if "held_out" in one.training)])
    model_card.write_model_card(folder, guard, model=model, measured=found)


def _table(rows: list[Row]) -> str:
    """A line for each metric and prompt set, without the guard and with it."""
    heads, lines = ["prompts", "metric", "no guard", "guarded", "n"], []
    plain = {(row.prompt_set, row.metric): row for row in rows if row.guard == UNGUARDED}
    for row in rows:
        if row.guard != UNGUARDED:
            before = plain.get((row.prompt_set, row.metric))
            counted = str(row.n + row.n_unscored)
            lines.append([row.prompt_set, row.metric, share(before), share(row), counted])
    return "\n\n".join(filter(None, (table(heads, lines), below(rows))))


def _held_out(guard: Guard) -> str:
    """What a guard that learnt from runs finds among those that it did not learn from."""
    heads, lines = ["held-out runs", "show the concept", "found", "do not", "false alarms"], []
    for kind, counts in guard.training["held_out"].items():
        sides = [(counts["found"], counts["shown"]), (counts["false_alarms"], counts["clear"])]
        cells = [(str(n), f"{hits} [{_percent(hits, n)}]" if n else "–") for hits, n in sides]
        lines.append([kind, *cells[0], *cells[1]])
    return "Held out in training, in brackets per cent with 95 % intervals:\n\n" + table(heads, lines)


def _percent(hits: int, n: int) -> str:
    """A share in per cent with its Wilson interval."""
    low, high = wilson(hits, n)
    return f"{100 * hits / n:.0f}: {100 * low:.0f} to {100 * high:.0f}"
