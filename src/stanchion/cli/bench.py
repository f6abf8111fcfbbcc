"""``stanchion bench``: run a spec into a record, and write the rows and grids that follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..benchmark.spec import Spec
    from ..benchmark.store import Store


def bench(
    spec: Annotated[Path, typer.Argument(help="A YAML file.", exists=True, dir_okay=False)],
    output: Annotated[Path | None, typer.Option(help="Folder of the record [default: runs/SPEC]")] = None,
    rows: Annotated[Path | None, typer.Option(help="File for the rows [default: SPEC with .json]")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after so long; run again to go on.")] = None,
    grid: Annotated[int, typer.Option(min=0, help="Prompts in each picture grid; 0 for none.")] = 6,
) -> None:
    """Run SPEC. Interrupted, it goes on where it stopped when it is run again."""
    import time

    from .. import config
    from ..benchmark.judges import load_judge
    from ..benchmark.rows import make_rows, write_rows
    from ..benchmark.spec import load_spec
    from ..benchmark.store import Store
    from ..concepts import load_concept

    wanted = load_spec(spec)
    store = Store(output or Path("runs") / spec.stem)
    (store.folder / "spec.yaml").write_text(config.dump(wanted), encoding="utf-8")
    from ..benchmark.artist import Artist, guards_of
    from ..benchmark.runner import Runner

    for variant in wanted.variants[1:]:
        guards_of(variant, load_concept(wanted.concepts[0]))
    judge = load_judge(wanted.judge)
    runner = Runner(wanted, store, Artist.of(wanted.model), judge)
    until = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    finished = runner.run(until=until)
    if not finished:
        typer.echo("stopped by --minutes; run the same command again to go on.", err=True)
        return
    target = rows or spec.with_suffix(".json")
    write_rows(target, make_rows(wanted, store, judge=judge.identity, command=f"stanchion bench {spec}"))
    typer.echo(f"rows: {target}")
    if grid:
        typer.echo(f"grids: {_grids(wanted, store, grid)}")


def _grids(spec: Spec, store: Store, count: int) -> Path:
    """A contact sheet for each concept and prompt set: rows are prompts, columns are variants."""
    from ..benchmark.gallery import gallery

    folder = store.folder / "grids"
    folder.mkdir(exist_ok=True)
    for concept in spec.concepts:
        for prompt_set in spec.prompts:
            cells = [store.cell(v.guard, v.variant, concept, prompt_set) for v in spec.variants]
            columns = [cell for cell in cells if cell]
            shown = sorted(columns[0])[:count] if columns else []
            if shown:
                rows = [[column[key].attempt for column in columns] for key in shown]
                gallery(rows).convert("RGB").save(folder / f"{Path(concept).stem}-{prompt_set}.jpg", quality=88)
    return folder
