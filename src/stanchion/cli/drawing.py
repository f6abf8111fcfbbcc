"""What the commands that draw share: a studio of model and judge, and the report."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from PIL import Image
from tqdm import tqdm

from .. import registry
from ..benchmark.images.attempt_sheet import contact_sheet_of, verdict_line
from ..benchmark.run.generation import batches, make_attempts
from ..benchmark.spec.variant import UNGUARDED, Variant
from ..concepts import Concept
from ..files.names import file_name
from ..judges import load_judge
from ..types import Attempt, Prompt
from .endings import FAILED
from .outputs import check_folder


class Renderer:
    """A pipeline, a judge and a folder for pictures. Names and folder are checked before anything slow is loaded."""

    def __init__(self, model: str, judge: str, folder: Path, *, steps: int, guidance_scale: float, batch: int) -> None:
        registry.check("judges", [judge])
        self.model, self.judge, self.folder = model, judge, check_folder(folder)
        self.steps, self.guidance_scale, self.batch = steps, guidance_scale, batch
        self._tools: tuple[Any, Any] | None = None

    def compare(self, prompts: Sequence[Prompt], variants: Sequence[Variant], concept: Concept) -> list[list[Attempt]]:
        """What each prompt gives under each variant.

        The last variant comes first: where its guard can't be had or can't stand on this model, nothing is drawn.
        """
        from ..benchmark.run.image_generator import guards_of

        for variant in variants:
            if variant.names:
                guards_of(variant, concept, self.model)
        self._load()
        self.folder.mkdir(parents=True, exist_ok=True)
        columns = [self._draw(prompts, variant, concept) for variant in reversed(variants)]
        return [list(row) for row in zip(*reversed(columns), strict=True)]

    def _draw(self, prompts: Sequence[Prompt], variant: Variant, concept: Concept) -> list[Attempt]:
        generator, judge = self._load()
        _warn_of_cuts(generator, prompts)
        attempts: list[Attempt] = []
        with tqdm(total=len(prompts), desc=variant.guard, unit="picture", disable=None) as bar:
            for scale, chunk in self._chunks(prompts):
                for prompt in chunk:
                    self._path(prompt, variant).unlink(missing_ok=True)  # an earlier command's is none of this one
                attempts += make_attempts(
                    generator,
                    judge,
                    chunk,
                    variant,
                    concept,
                    steps=self.steps,
                    guidance_scale=scale,
                    keep=lambda prompt, image: self._keep(prompt, image, variant),
                )
                bar.update(len(chunk))
        return attempts

    def _chunks(self, prompts: Sequence[Prompt]) -> Iterator[tuple[float, list[Prompt]]]:
        """Batches of prompts that share their guidance scale: a row's own, or that of the command."""
        for chunk in batches(prompts, self.batch, alike=lambda row: row.guidance_scale):
            scale = chunk[0].guidance_scale
            yield self.guidance_scale if scale is None else scale, chunk

    def _load(self) -> tuple[Any, Any]:
        if self._tools is None:
            from ..benchmark.run.image_generator import ImageGenerator
            from ..pipeline.loading import without_progress_bars

            without_progress_bars()
            judge = load_judge(self.judge)
            self._tools = ImageGenerator.of(self.model), judge
        return self._tools

    def _keep(self, prompt: Prompt, image: Image.Image, variant: Variant) -> str:
        path = self._path(prompt, variant)
        image.save(path)
        return str(path)

    def _path(self, prompt: Prompt, variant: Variant) -> Path:
        return self.folder / f"{file_name(prompt.id, *_names(variant))}.png"


def _warn_of_cuts(generator: Any, prompts: Sequence[Prompt]) -> None:
    for prompt in prompts:
        if cut := generator.cut_tokens(prompt.text):
            typer.echo(f"stanchion: {cut} tokens at the end of {prompt.text!r} are cut: it is too long.", err=True)


def report(rows: Sequence[Sequence[Attempt]], folder: Path, *, json: bool = False) -> None:
    """Print what was drawn, a line a picture; where variants are compared, save a contact sheet too.

    Raises:
        typer.Exit: some prompt has no picture.
    """
    for attempt in (attempt for row in rows for attempt in row):
        typer.echo(json_format.dumps(as_json(attempt)) if json else as_line(attempt))
    if len(rows[0]) > 1:
        sheet = folder / "contact_sheet" / "contact_sheet.png"  # apart: FOLDER/*.png are the pictures, to be judged
        sheet.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet_of(rows).save(sheet)
        typer.echo(f"contact sheet: {sheet}", err=json)
    missing = [attempt for row in rows for attempt in row if attempt.image is None]
    if missing:
        count = sum(map(len, rows))
        typer.echo(
            f"stanchion: {len(missing)} of {count} pictures were not made: {missing[0].verdict.reason}", err=True
        )
        raise typer.Exit(FAILED)


def as_line(attempt: Attempt) -> str:
    """One line for people."""
    guard = "no guard" if attempt.guard == UNGUARDED else _name(attempt)
    return (
        f"{guard:<16} {verdict_line(attempt):<40} {attempt.prompt.text!r} seed {attempt.prompt.seed}  {attempt.image}"
    )


def _name(what: Variant | Attempt) -> str:
    """The guard, and its variant where it is not the default one."""
    return "-".join(_names(what))


def _names(what: Variant | Attempt) -> list[str]:
    guard = "+".join(Path(name).name for name in what.guard.split("+"))
    return [guard] if what.variant == "default" else [guard, what.variant]


def as_json(attempt: Attempt) -> dict[str, Any]:
    """One line for programs."""
    return {
        "prompt": attempt.prompt.text,
        "seed": attempt.prompt.seed,
        "guard": attempt.guard,
        "image": attempt.image,
        "unsafe": attempt.verdict.unsafe,
        "found": list(attempt.verdict.found),
        "reason": attempt.verdict.reason,
        "objects": list(getattr(attempt.labels, "objects", ())),
        "acted": dict(attempt.acted),
        "seconds": attempt.seconds,
    }
