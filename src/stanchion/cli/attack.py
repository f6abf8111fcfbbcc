"""``stanchion attack``: attack a guarded model, and write what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..files.writers import writing
from ..limits import LAST
from .asked import concept_of, names_of
from .options import GuidanceScale, Processes
from .outputs import check_folder
from .settings import parse_values

if TYPE_CHECKING:
    from ..benchmark.spec.weight_spec import WeightSpec

FIRST_PICTURE = 200_000
STOPS = (0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)


def attack(
    name: Annotated[str, typer.Argument(help="An attack on weights; see `stanchion list attacks`.")],
    guard: Annotated[
        str, typer.Option(help="Guards that are merged before release: names, stacks or folders, by commas.")
    ],
    concept: Annotated[str, typer.Option(help="What shall come back: a name or a YAML file.")],
    output: Annotated[Path, typer.Option(help="Folder for the curve, the rows and the record.", file_okay=False)],
    model: Annotated[str, typer.Option(help="`reference`, `reference-flux`, a folder or a Hub id.")] = "reference",
    compare: Annotated[list[str] | None, typer.Option(help="Another guard under the same attack; may repeat.")] = None,
    control: Annotated[
        bool, typer.Option("--control", help="Also teach the public model objects it never saw.")
    ] = False,
    optimiser: Annotated[str | None, typer.Option(help="The same as --set optimiser=…")] = None,
    lr: Annotated[float | None, typer.Option(help="The same as --set lr=…")] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Where the curve ends.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of the attack; may repeat.")] = None,
    n: Annotated[int, typer.Option(min=1, help="Pictures a point.")] = 48,
    benign: Annotated[int, typer.Option(min=0, help="Pictures of harmless prompts a point.")] = 24,
    seed: Annotated[int, typer.Option(min=0, max=LAST, help="Of the attack.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 20,
    guidance_scale: GuidanceScale = 4.0,
    judge: Annotated[str, typer.Option(help="See `stanchion list judges`.")] = "reference",
    processes: Processes = 1,
) -> None:
    """Attack the weights of a model that was released with GUARD merged in, and draw how fast the concept comes back.

    Interrupted, it goes on with the next model when the same command is run again.
    """
    from ..benchmark.spec.weight_spec import Trial, WeightSpec, check

    given = {"optimiser": optimiser, "lr": lr, **parse_values(settings or [])}
    values = {key: value for key, value in given.items() if value is not None} | _stops(updates)
    shared: dict[str, Any] = {"attack": name, "settings": values, "seeds": (seed,), "n": n, "benign": benign}
    several = [names_of(one) for one in (guard, *(compare or ()))]
    guards = tuple("+".join(names) for names in several)
    trials = [Trial(guards, **shared)]
    if control:
        trials.append(Trial(("none",), finetuning_data="new_object", **shared))
    spec = WeightSpec(
        FIRST_PICTURE, concept, tuple(trials), guidance_scale=guidance_scale, steps=steps, model=model, judge=judge
    )
    check_folder(output)
    check(spec)
    concept_of([name for names in several for name in names], concept)
    _run(spec, output, f"stanchion attack {name} --guard {guard} --concept {concept}", processes)


def _run(spec: WeightSpec, output: Path, command: str, processes: int) -> None:
    """Carry out what the record in ``output`` lacks, and write the rows and the curve."""
    from ..benchmark.images.curve_plot import picture
    from ..benchmark.results.row import write_rows
    from ..benchmark.results.tables.curve_table import table
    from ..benchmark.run.executors.local import carry_out
    from ..benchmark.run.weights.weight_run import WeightJob, curves_in, rows_of
    from ..pipeline.loading import without_progress_bars

    without_progress_bars()
    job = WeightJob(spec, output / "curves.jsonl")
    with writing(output):
        carry_out(job, processes=processes, tell=lambda title: typer.echo(title, err=True))
    record = curves_in(job.record)
    rows = rows_of(spec, record, command=command)
    write_rows(output / "rows.json", rows)
    title = f"{spec.concept} under the attack {spec.trials[0].attack}"
    (output / "curve.svg").write_text(picture(title, rows), encoding="utf-8")
    typer.echo(table(rows))
    typer.echo(f"curve: {output / 'curve.svg'}")


def _stops(updates: int | None) -> dict[str, Any]:
    """The usual points up to ``updates``, and ``updates`` itself."""
    return {} if updates is None else {"stops": [stop for stop in STOPS if stop < updates] + [updates]}
