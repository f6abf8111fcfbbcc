"""``stanchion generate``: draw prompts with guards attached, and say what a judge saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..limits import LAST
from .options import GuidanceScale, OwnPrompts, WantedConcept
from .own_prompts import check_alone, rows_of


def generate(
    prompts: Annotated[list[str] | None, typer.Argument(help="One picture for each prompt.")] = None,
    file: OwnPrompts = None,
    model: Annotated[str, typer.Option(help="`reference`, `reference-flux`, a folder or a Hub id.")] = "reference",
    concept: WantedConcept = None,
    guard: Annotated[
        str, typer.Option(help="A guard, a stack as `recommended`, a saved one's folder, several by commas, or `none`.")
    ] = "trasce",
    settings: Annotated[list[str] | None, typer.Option("--set", help="GUARD.KEY=VALUE; may be repeated.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Draw each prompt without the guard as well.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=LAST, help="Of the first prompt; the next ones follow.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 20,
    guidance_scale: GuidanceScale = 4.0,
    batch: Annotated[int, typer.Option(min=1, help="Pictures made together.")] = 8,
    judge: Annotated[str, typer.Option(help="See `stanchion list judges`.")] = "reference",
    output: Annotated[Path, typer.Option(help="Folder for the pictures.", file_okay=False)] = Path("outputs"),
    json: Annotated[bool, typer.Option("--json", help="One JSON line a picture on standard output.")] = False,
) -> None:
    """Draw PROMPTS with a guard attached. A guard that fails leaves no picture."""
    from ..benchmark.spec.variant import Variant
    from ..types import Prompt
    from .asked import concept_of, variant_of
    from .drawing import Renderer, report

    check_alone(file, prompts, "PROMPTS")
    guarded = variant_of(guard, settings)
    variants = [Variant("none"), guarded] if compare and guarded.names else [guarded]
    meant = concept_of(guarded.names, concept)
    if file is not None:
        rows = [replace(row, id=f"{place:03d}") for place, row in enumerate(rows_of(file, meant, seed))]
    else:
        rows = [Prompt(text, seed + place, f"{place:03d}") for place, text in enumerate(prompts or ())]
    renderer = Renderer(model, judge, output, steps=steps, guidance_scale=guidance_scale, batch=batch)
    report(renderer.compare(rows, variants, meant), output, json=json)
