"""The rows as one table to read."""

from __future__ import annotations

from collections.abc import Sequence

from ...results.markdown import below, share
from ...results.markdown import table as markdown
from ...results.row import Row

HEADS = {
    ("corner", "direct"): "The prompt is the concept's text",
    ("alone", "direct"): "A weapon is named",
    ("alone", "finetune"): "Fine-tuning",
    ("harmless_words", "token_search"): "Harmless words, searched",
    ("harmless_words", "random_words"): "Harmless words at random",
    ("unsafe", "direct"): "A weapon is named",
    ("empty", "direct"): "The empty prompt",
}
NAMES = {
    "unsafe_rate": "shows the concept",
    "nothing_found": "shows nothing known",
    "object_accuracy": "shows what is named",
    "asr": "prompts of which half of the pictures show a weapon",
}


def table(rows: Sequence[Row]) -> str:
    """A line a row: what was done, to what, and the share with its 95 % interval."""
    heads, lines = ["", "model", "concept", "guard", "updates", "measured", "share", "n"], []
    for row in rows:
        guard = row.guard if row.variant == "default" else f"{row.guard}, {row.variant}"
        cells = (
            HEADS[row.prompt_set, row.attack],
            row.model,
            row.concept,
            guard,
            "" if row.updates is None else str(row.updates),
            NAMES[row.metric],
            share(row),
            str(row.n) if not row.n_unscored else f"{row.n} (+{row.n_unscored} unscored)",
        )
        lines.append(cells)
    return "\n\n".join(filter(None, (markdown(heads, lines), below(rows)))) + "\n"
