"""``stanchion export``: a model with guards merged into its weights, as a folder that stock diffusers loads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import ConfigError
from .asked import concepts_of, names_of, singles
from .outputs import check_folder

if TYPE_CHECKING:
    from ..guards.base import Guard

Format = Literal["diffusers", "lora", "comfyui"]


def export(
    guards: Annotated[
        str, typer.Option(help="Guards that replace weights: names, stacks or saved folders, by commas.")
    ],
    output: Annotated[Path, typer.Option(help="A new folder.", file_okay=False)],
    concept: Annotated[str | None, typer.Option(help="What guards given by name are against.")] = None,
    model: Annotated[str, typer.Option(help="`reference`, `reference-flux`, a folder or a Hub id.")] = "reference",
    half: Annotated[bool, typer.Option("--half", help="Store the weights in float16.")] = False,
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="`diffusers`, a pipeline; `lora`, for load_lora_weights; or `comfyui`'s LoRA.",
        ),
    ] = "diffusers",
) -> None:
    """Merge guards into a model's weights, for release: plain weights, with a card that says what is in them."""
    if half and format_ != "diffusers":
        raise ConfigError("--half is of --format diffusers: a LoRA is loaded in the pipeline's own type.")
    names, output = names_of(guards), check_folder(output)
    flat = _loaded(names, concept)
    import torch

    from ..pipeline.loading import load_pipeline, without_progress_bars
    from ..pipeline.release import check_merged, check_new, release
    from ..pipeline.release_lora import release_lora

    check_new(output)
    check_merged(flat)

    without_progress_bars()
    pipe = load_pipeline(model)
    if format_ != "diffusers":
        folder = release_lora(
            pipe, flat, output, model=model, dialect="comfyui" if format_ == "comfyui" else "diffusers"
        )
        typer.echo(f"{' + '.join(guard.name for guard in flat)} as a LoRA for {model}: {folder}")
        return
    folder = release(pipe, flat, output, model=model, dtype=torch.float16 if half else torch.float32)
    typer.echo(f"{' + '.join(guard.name for guard in flat)} merged into {model}: {folder}")


def _loaded(names: Sequence[str], concept: str | None) -> list[Guard]:
    """The guards. A concept is for those that are given by name; one that nobody takes must be the saved guards' own.

    Raises:
        ConfigError: a name without a concept, or a concept that is none of theirs.
    """
    from ..benchmark.spec.variant import is_saved
    from ..concepts import load_concept
    from ..guards.loading import load_guard, stack_of

    wanted = None if concept is None else load_concept(concept)
    theirs = concepts_of(names)
    for name, own in theirs.items():
        if wanted and len(theirs) == len(names) and own.targets != wanted.targets:
            raise ConfigError(f"{name} was made against {own.name}, not {wanted.name}; leave --concept out.")
    if (named := [name for name in names if not is_saved(name)]) and wanted is None:
        raise ConfigError(f"--guards {named[0]}: say what it guards against, with --concept weapons for example.")
    loaded = [stack_of([name], wanted, {}) if wanted and name in named else load_guard(name) for name in names]
    return [one for guard in loaded for one in singles(guard)]
