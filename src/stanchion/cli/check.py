"""``stanchion check``: before an attack's failure is believed, does a guard only hide its gradient?"""

from __future__ import annotations

from typing import Annotated

import typer

from ..limits import LAST
from .options import GuidanceScale, WantedConcept


def check(
    prompts: Annotated[list[str], typer.Argument(help="A few prompts that name the concept.")],
    guard: Annotated[
        str, typer.Option(help="A guard, a stack as `recommended`, a saved one's folder, or several by commas.")
    ],
    concept: WantedConcept = None,
    model: Annotated[str, typer.Option(help="`reference`, `reference-flux`, a folder or a Hub id.")] = "reference",
    settings: Annotated[list[str] | None, typer.Option("--set", help="GUARD.KEY=VALUE; may be repeated.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LAST, help="Of the searches, and of the first picture; the next ones follow.")
    ] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 20,
    guidance_scale: GuidanceScale = 4.0,
) -> None:
    """Warn where a guard hides its gradient, answers at random or optimises while it draws PROMPTS.

    None of these says that a guard is weak: each says what an attack must do before its failure means something.
    """
    from ..types import Prompt
    from .asked import concept_of, variant_of

    variant = variant_of(guard, settings)
    rows = [Prompt(text, seed + place, f"{place:03d}") for place, text in enumerate(prompts)]
    wanted = concept_of(variant.names, concept)

    from ..attacks.checks import check_guards
    from ..benchmark.run.image_generator import guards_of
    from ..pipeline.loading import load_pipeline, without_progress_bars
    from ..targets.deployment import Deployment

    stack = guards_of(variant, wanted, model)
    without_progress_bars()
    pipe, base = load_pipeline(model), load_pipeline(model)
    with stack.attach(pipe):
        deployment = Deployment(pipe, base, steps=steps, guidance_scale=guidance_scale)
        for finding in check_guards(deployment, rows, seed=seed):
            mark, colour = ("warning", "yellow") if finding.warns else ("fine", "green")
            typer.echo(f"{typer.style(f'{mark:<8}', fg=colour)} {finding.check:<24} {finding.detail}")
