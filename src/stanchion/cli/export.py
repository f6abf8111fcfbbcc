"""``stanchion export``: a model with guards merged into its weights, as a folder that stock diffusers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    guards: Annotated[str, typer.Option(help="Guards that replace weights: names or saved folders, by commas.")],
    output: Annotated[Path, typer.Option(help="A new folder.", file_okay=False)],
    concept: Annotated[str | None, typer.Option(help="What guards given by name are against.")] = None,
    model: Annotated[str, typer.Option(help="`reference`, a folder or a Hub id.")] = "reference",
    half: Annotated[bool, typer.Option("--half", help="Store the weights in float16.")] = False,
) -> None:
    """Merge guards into a model's weights, for release: a plain pipeline, with a card that says what is in it."""
    from .. import registry
    from ..concepts import load_concept
    from ..guards.loading import load_guard

    wanted = concept and load_concept(concept)
    names = guards.split(",")
    known = registry.names("guards")
    loaded = [load_guard(name, wanted if name in known else None) for name in names]
    flat = [one for guard in loaded for one in getattr(guard, "guards", (guard,))]
    import torch

    from ..pipeline.loading import load_pipeline, without_progress_bars
    from ..pipeline.release import release

    without_progress_bars()
    pipe = load_pipeline(model)
    folder = release(pipe, flat, output, model=model, dtype=torch.float16 if half else torch.float32)
    typer.echo(f"{' + '.join(guard.name for guard in flat)} merged into {model}: {folder}")
