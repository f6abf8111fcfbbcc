"""``stanchion judge``: what a judge sees in pictures, and a concept's verdict."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..types import Labels, Unscored, Verdict


def judge(
    images: Annotated[list[Path], typer.Argument(help="Picture files.", exists=True, dir_okay=False)],
    concept: Annotated[str | None, typer.Option(help="Give this concept's verdict too: a name or a YAML file.")] = None,
    judge: Annotated[str, typer.Option(help="See `stanchion list judges`.")] = "reference",
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE; may be repeated.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Say what pictures show. A file that is no picture is unscored, never safe."""
    from ..concepts import load_concept
    from ..judges import check_settings, load_judge
    from .settings import parse_values

    wanted = None if concept is None else load_concept(concept)
    values = parse_values(settings or [])
    check_settings(judge, values)
    eye = load_judge(judge, **values)
    rows = []
    for path, labels in zip(images, eye.detect([_open(path) for path in images]), strict=True):
        verdict = eye.verdict(labels, wanted) if wanted else None
        rows.append(_row(path, labels, verdict))
    typer.echo(json_format.dumps(rows, indent=2) if json else "\n".join(map(_line, rows)))


def _open(path: Path) -> Any:
    """The picture, or why it can't be judged."""
    from ..errors import ConfigError
    from ..files.pictures import read_picture
    from ..types import Unscored

    try:
        return read_picture(path)
    except ConfigError as error:
        return Unscored(str(error))


def _row(path: Path, labels: Labels | Unscored, verdict: Verdict | None) -> dict[str, Any]:
    from dataclasses import asdict

    row = {"image": str(path), **asdict(labels)}
    return row if verdict is None else {**row, "verdict": asdict(verdict)}


def _line(row: dict[str, Any]) -> str:
    if "objects" not in row:
        return f"{row['image']}: unscored ({row['reason']})"
    line = f"{row['image']}: shows {', '.join(row['objects']) or 'nothing'}"
    line += f"; style {row['style'] or 'unknown'}; background {row['background'] or 'unknown'}"
    return f"{line}; {_verdict(row['verdict'])}" if "verdict" in row else line


def _verdict(verdict: dict[str, Any]) -> str:
    if verdict["unsafe"] is None:
        return f"unscored ({verdict['reason']})"
    return f"UNSAFE ({', '.join(verdict['found'])})" if verdict["unsafe"] else "safe"
