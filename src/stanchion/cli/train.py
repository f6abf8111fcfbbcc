"""``stanchion train``: train a guard for a concept, measure it, and leave a folder that every other command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..limits import LAST
from .asked import parse_settings
from .outputs import check_folder
from .settings import parse_values


def train(
    guard: Annotated[
        str,
        typer.Argument(help="What is trained: see `stanchion list recipes stacks`."),
    ],
    concept: Annotated[str, typer.Option(help="What must not be drawn: a name or a YAML file.")],
    output: Annotated[Path, typer.Option(help="Folder for the guard, its card and its checkpoints.", file_okay=False)],
    model: Annotated[str, typer.Option(help="`reference`, `reference-flux`, a folder or a Hub id.")] = "reference",
    preset: Annotated[str, typer.Option(help="Settings by name: `default`, `paper`, …")] = "default",
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE (of a stack GUARD.KEY=VALUE).")] = None,
    seed: Annotated[int, typer.Option(min=0, max=LAST, help="Everything random follows from it.")] = 0,
    measure: Annotated[int, typer.Option(min=0, help="Pictures a prompt set for the card; 0 for none.")] = 48,
) -> None:
    """Train GUARD, or all that a stack needs. Interrupted, it goes on where it stopped when the command is run again.

    For several processes: torchrun --nproc-per-node 2 -m stanchion train …
    """
    from .. import registry
    from ..concepts import load_concept

    stack = registry.is_named("stacks", guard)
    if not stack:
        registry.check("recipes", [guard])
    check_folder(output)
    wanted = load_concept(concept)
    parts = list(registry.get("stacks", guard).guards) if stack else []
    values = parse_settings(settings or [], parts) if stack else parse_values(settings or [])
    from ..benchmark.model_card import measured, write_model_card
    from ..learning.workers import Workers
    from ..pipeline.loading import load_pipeline, without_progress_bars
    from ..training.recipe import check_recipe, train_guard
    from ..training.stacks import check_stack, train_stack

    (check_stack if stack else check_recipe)(guard, preset, values)

    without_progress_bars()
    workers = Workers.start()
    how: Any = {"preset": preset, "seed": seed, "workers": workers}
    pipe = load_pipeline(model)
    trained: Any = (
        train_stack(guard, pipe, wanted, output, settings=values, **how)
        if stack
        else train_guard(guard, pipe, wanted, output, **how, **values)
    )
    if not workers.first:
        return
    rows = measured(output, trained, pipe, model, count=measure) if measure else []
    write_model_card(output, trained, model, rows)
    typer.echo(f"{guard} for {wanted.name}: {output}")
