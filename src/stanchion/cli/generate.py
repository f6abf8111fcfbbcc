"""``stanchion generate``: draw prompts with guards attached, and say what a judge saw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def generate(
    prompts: Annotated[list[str], typer.Argument(help="One picture for each prompt.")],
    model: Annotated[str, typer.Option(help="`reference`, a folder or a Hub id.")] = "reference",
    concept: Annotated[str, typer.Option(help="What must not be drawn: a name or a YAML file.")] = "weapons",
    guard: Annotated[
        str, typer.Option(help="A name, a saved guard's folder, several by commas, or `none`.")
    ] = "trasce",
    settings: Annotated[list[str] | None, typer.Option("--set", help="GUARD.KEY=VALUE; may be repeated.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Draw each prompt without the guard as well.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the first prompt; the next ones follow.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 20,
    guidance_scale: Annotated[float, typer.Option(min=0, help="Classifier-free guidance.")] = 4.0,
    batch: Annotated[int, typer.Option(min=1, help="Pictures made together.")] = 8,
    judge: Annotated[str, typer.Option(help="See `stanchion list judges`.")] = "reference",
    output: Annotated[Path, typer.Option(help="Folder for the pictures.", file_okay=False)] = Path("outputs"),
    json: Annotated[bool, typer.Option("--json", help="One JSON line a picture on standard output.")] = False,
) -> None:
    """Draw PROMPTS with a guard attached. A guard that fails leaves no picture."""
    from ..benchmark.spec import Variant
    from ..concepts import load_concept
    from ..types import Prompt
    from .drawing import Studio, parse_settings, report

    wanted = load_concept(concept)
    guarded = Variant("+".join(guard.split(",")), settings=parse_settings(settings or [], guard.split(",")))
    variants = [Variant("none"), guarded] if compare and guarded.names else [guarded]
    rows = [Prompt(text, seed + place, f"{place:03d}") for place, text in enumerate(prompts)]
    studio = Studio(model, judge, output, steps=steps, guidance_scale=guidance_scale, batch=batch)
    columns = [studio.draw(rows, variant, wanted) for variant in variants]
    report(list(zip(*columns, strict=True)), output, json=json)
