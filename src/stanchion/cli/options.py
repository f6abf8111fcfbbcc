"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GUIDANCE_LIMIT = 1000  # far past where a picture is anything, and far from where float32 ends

GuidanceScale = Annotated[float, typer.Option(min=0, max=GUIDANCE_LIMIT, help="Classifier-free guidance.")]
WantedConcept = Annotated[
    str | None,
    typer.Option(
        help="What must not be drawn: a name or a YAML file [default: a saved guard's own, or weapons].",
    ),
]
Processes = Annotated[int, typer.Option(min=1, help="That work at the same time, each with its share of the cores.")]
OwnPrompts = Annotated[
    Path | None,
    typer.Option(
        "--prompts", help="A file of your own prompts: CSV, TSV, JSON, JSONL, or text with one a line.", dir_okay=False
    ),
]
