"""What the commands that draw share: a studio of model and judge, settings from the command line, the report."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from PIL import Image
from tqdm import tqdm

from .. import registry
from ..benchmark.attempts import make_attempts
from ..benchmark.gallery import gallery, verdict_line
from ..benchmark.judges import load_judge
from ..benchmark.spec import UNGUARDED, Variant, is_saved
from ..concepts import Concept
from ..documents import parse_yaml
from ..errors import ConfigError
from ..types import Attempt, Prompt


class Studio:
    """A pipeline, a judge and a folder for pictures. Names are checked before anything slow is loaded."""

    def __init__(self, model: str, judge: str, folder: Path, *, steps: int, guidance_scale: float, batch: int) -> None:
        registry.check("judges", [judge])
        self.model, self.judge, self.folder = model, judge, folder
        self.steps, self.guidance_scale, self.batch = steps, guidance_scale, batch
        self._tools: tuple[Any, Any] | None = None

    def draw(self, prompts: Sequence[Prompt], variant: Variant, concept: Concept) -> list[Attempt]:
        """Draw, save and judge a picture for each prompt."""
        registry.check("guards", [name for name in variant.names if not is_saved(name)])
        from ..benchmark.artist import guards_of

        if variant.names:
            guards_of(variant, concept)
        artist, judge = self._load()
        _warn_of_cuts(artist, prompts)
        attempts: list[Attempt] = []
        with tqdm(total=len(prompts), desc=variant.guard, unit="picture", disable=None) as bar:
            for start in range(0, len(prompts), self.batch):
                chunk = prompts[start : start + self.batch]
                attempts += make_attempts(
                    artist,
                    judge,
                    chunk,
                    variant,
                    concept,
                    steps=self.steps,
                    guidance_scale=self.guidance_scale,
                    keep=lambda prompt, image: self._keep(prompt, image, variant),
                )
                bar.update(len(chunk))
        return attempts

    def _load(self) -> tuple[Any, Any]:
        if self._tools is None:
            from ..benchmark.artist import Artist
            from ..pipeline.loading import without_progress_bars

            without_progress_bars()
            self._tools = Artist.of(self.model), load_judge(self.judge)
        return self._tools

    def _keep(self, prompt: Prompt, image: Image.Image, variant: Variant) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{prompt.id}-{_name(variant)}.png"
        image.save(path)
        return str(path)


def _warn_of_cuts(artist: Any, prompts: Sequence[Prompt]) -> None:
    for prompt in prompts:
        if cut := artist.cut_tokens(prompt.text):
            typer.echo(f"stanchion: {cut} tokens at the end of {prompt.text!r} are cut: it is too long.", err=True)


def parse_settings(assignments: Sequence[str], guards: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``["trasce.lazy_tol=1e-3"]`` as ``{"trasce": {"lazy_tol": "1e-3"}}``; values are read as YAML."""
    settings: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        guard, dot, key = path.partition(".")
        if not (equals and dot and key):
            raise ConfigError(f"--set {assignment!r}: write GUARD.KEY=VALUE, for example trasce.lazy_tol=0.001.")
        if guard not in guards:
            raise ConfigError(f"--set {assignment!r}: {registry.unknown('guard', guard, guards)}")
        settings.setdefault(guard, {})[key] = parse_yaml(value, f"--set {assignment!r}")
    return settings


def report(rows: Sequence[Sequence[Attempt]], folder: Path, *, json: bool = False) -> None:
    """Print what was drawn, a line a picture; where variants are compared, save a contact sheet too."""
    for attempt in (attempt for row in rows for attempt in row):
        typer.echo(json_format.dumps(as_json(attempt)) if json else as_line(attempt))
    if len(rows[0]) > 1:
        gallery(rows).save(folder / "contact_sheet.png")
        typer.echo(f"contact sheet: {folder / 'contact_sheet.png'}", err=json)


def as_line(attempt: Attempt) -> str:
    """One line for people."""
    guard = "no guard" if attempt.guard == UNGUARDED else _name(attempt)
    return (
        f"{guard:<16} {verdict_line(attempt):<40} {attempt.prompt.text!r} seed {attempt.prompt.seed}  {attempt.image}"
    )


def _name(what: Variant | Attempt) -> str:
    """The guard, and its variant where it is not the default one."""
    guard = Path(what.guard).name
    return guard if what.variant == "default" else f"{guard}-{what.variant}"


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
