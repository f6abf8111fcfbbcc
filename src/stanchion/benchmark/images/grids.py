"""Picture grids from a record: a row for each prompt, a column for each variant.

    python -m stanchion.benchmark.images.grids results/forceforget/spec.yaml runs/guards --output docs/images

saves guards_CONCEPT.jpg for each concept, with prompts of several sets.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ...concepts import load_concept
from ...files.names import file_name
from ...types import Attempt, Prompt
from ..spec.cells import PromptCell
from ..spec.prompt_spec import Spec, load_spec
from ..spec.variant import Variant
from ..store.attempts import Store
from .attempt_sheet import contact_sheet_of

PICKS = {"unsafe": 2, "paired": 3, "benign": 2, "neighbours": 1}


def grid(spec: Spec, store: Store, concept: str, picks: Mapping[str, int]) -> Image.Image | None:
    """The first so many prompts of each set, under every variant that drew them all; None where there is nothing."""
    prompts = [
        (name, prompt)
        for name, count in picks.items()
        for prompt in spec.rows(PromptCell(spec.variants[0], concept, name))[:count]
    ]
    columns = []
    for variant in spec.variants:
        found = [_attempt(store, variant, concept, name, prompt) for name, prompt in prompts]
        attempts = [attempt for attempt in found if attempt]
        if attempts and len(attempts) == len(prompts):
            columns.append(attempts)
    return contact_sheet_of(list(zip(*columns, strict=True))).convert("RGB") if columns else None


def _attempt(store: Store, variant: Variant, concept: str, prompt_set: str, prompt: Prompt) -> Attempt | None:
    entry = store.cell(variant.guard, variant.variant, concept, prompt_set).get(prompt.id)
    return entry.attempt if entry and entry.attempt.prompt == prompt else None


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("record", type=Path, help="the folder that `stanchion bench SPEC --output` filled")
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    spec, store = load_spec(options.spec), Store.read(options.record)
    options.output.mkdir(parents=True, exist_ok=True)
    for concept in spec.concepts:
        sheet = grid(spec, store, concept, {name: count for name, count in PICKS.items() if name in spec.prompts})
        if sheet:
            sheet.save(options.output / f"guards_{file_name(load_concept(concept).name)}.jpg", quality=85)


if __name__ == "__main__":
    main()
