"""``stanchion list``: what there is to choose from."""

from __future__ import annotations

import json as json_format
from enum import StrEnum
from typing import Annotated

import typer

from .. import registry
from ..concepts import BUILT_IN


class Kind(StrEnum):
    """What can be listed."""

    guards = "guards"
    stacks = "stacks"
    concepts = "concepts"
    models = "models"
    judges = "judges"
    metrics = "metrics"
    prompts = "prompts"
    recipes = "recipes"
    attacks = "attacks"
    families = "families"
    studies = "studies"


def list_(
    kinds: Annotated[list[Kind] | None, typer.Argument(help="Which kinds; all of them where none is given.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """List guards, stacks, concepts, models, judges, metrics, prompts, recipes, attacks, families and studies.

    Families alone: which guard stands on which pipeline class, and why not.
    """
    if kinds == [Kind.families]:
        return _matrix(json)
    tables = {kind.value: _table(kind) for kind in kinds or list(Kind)}
    if json:
        typer.echo(json_format.dumps(tables, indent=2, ensure_ascii=False))
        return None
    width = max((len(name) for table in tables.values() for name in table), default=0)
    for kind, table in tables.items():
        typer.secho(kind, bold=True)
        for name, text in table.items():
            typer.echo(f"  {name:<{width}}  {text}")
    return None


def _matrix(json: bool) -> None:
    """Guard by pipeline class; this loads both."""
    from ..guards import support

    if not json:
        typer.echo(support.markdown())
        return
    tables: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for row in support.table():
        kinds = tables.setdefault(row.family.name, {}).setdefault(row.kind, {})
        kinds[row.guard.name] = {"state": row.state, "why": row.why}
    typer.echo(json_format.dumps(tables, indent=2, ensure_ascii=False))


def _table(kind: Kind) -> dict[str, str]:
    if kind is Kind.concepts:
        return {name: f"{concept.kind}: {concept.text}" for name, concept in BUILT_IN.items()}
    if kind is Kind.models:
        return {
            "reference": "the small model in the package: emoji objects, 48 pixels",
            "reference-flux": "the same world drawn by a small FLUX, on the first one's text encoder and autoencoder",
            "FOLDER or ID": "a Stable Diffusion 1.x pipeline on disk or on the Hub, with safetensors weights",
        }
    return {name: _line(kind, entry) for name, entry in registry.entries(kind.value).items()}


def _line(kind: Kind, entry: registry.Entry) -> str:
    return f"{entry.folder}: {entry.summary}" if kind is Kind.guards else entry.summary
