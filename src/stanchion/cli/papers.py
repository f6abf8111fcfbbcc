"""``stanchion bench papers/NAME``: a paper's table, reported beside measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..files.names import file_name
from ..files.shards import Shard
from ..files.writers import Part, writing
from .outputs import check_file, check_folder

if TYPE_CHECKING:
    from ..benchmark.papers.paper import Paper
    from ..benchmark.results.row import Row
    from ..benchmark.run.benchmark_run import BenchmarkJob


def bench_paper(
    name: str,
    output: Path | None,
    rows: Path | None,
    model: str | None,
    settings: Mapping[str, Any],
    *,
    shard: Shard,
    **options: Any,
) -> list[Row] | None:
    """Say what it takes, draw, write rows and page; None where a part of it is still to be done."""
    from .. import config
    from ..benchmark.papers.paper import Choice, load_paper, write_specs
    from ..benchmark.spec.prompt_spec import load_spec
    from ..pipeline.loading import without_progress_bars

    paper, choice = load_paper(name), config.from_dict(Choice, settings, where="--set")
    folder = check_folder(output or Path("runs") / file_name(Path(name).name))
    target = check_file(rows or folder / "rows.json")
    specs = {task: load_spec(path) for task, path in write_specs(paper, choice, model or paper.model, folder).items()}
    without_progress_bars()
    jobs = {task: _job(spec, folder) for task, spec in specs.items()}
    for task, job in jobs.items():
        _tell(task, job, shard)
    with writing(folder, Part(shard=shard)):
        if not all(_carry_out(task, job, folder, shard=shard, **options) for task, job in jobs.items()):
            typer.echo("stopped by --minutes; run the same command again to go on.", err=True)
            return None
    if not shard.whole:
        typer.echo(f"filled: {shard}; when every part is, run the command without --shard for rows.")
        return None
    return _write(paper, {task: _rows(paper, task, job, name, folder) for task, job in jobs.items()}, target, folder)


def _job(spec: Any, folder: Path) -> BenchmarkJob:
    from ..benchmark.run.benchmark_run import BenchmarkJob

    return BenchmarkJob(spec, folder)


def _tell(task: str, job: BenchmarkJob, shard: Shard) -> None:
    """What is to be done, before anything is."""
    from ..benchmark.papers.estimate import estimate

    effort = estimate(job.spec, job.open(shard).generator)
    parts = "" if shard.whole else f"; this is part {shard} of it"
    typer.echo(f"{task}: {effort}{parts}.", err=True)


def _carry_out(task: str, job: BenchmarkJob, folder: Path, **options: Any) -> bool:
    from ..benchmark.run.executors.local import carry_out
    from ..benchmark.store.manifest import file_spec

    file_spec(folder, file_name(task), job.spec)
    return carry_out(job, **options)


def _rows(paper: Paper, task: str, job: BenchmarkJob, name: str, folder: Path) -> list[Row]:
    return paper.beside(task, job.open().rows(file_name(task), f"stanchion bench {name}"))


def _write(paper: Paper, rows: Mapping[str, list[Row]], target: Path, folder: Path) -> list[Row]:
    from ..benchmark.papers.table import page
    from ..benchmark.results.row import write_rows

    every = [row for several in rows.values() for row in several]
    write_rows(target, every)
    (folder / "table.md").write_text(told := page(paper, rows), encoding="utf-8")
    typer.echo(f"{told}\nrows: {target}\ntable: {folder / 'table.md'}")
    return every
