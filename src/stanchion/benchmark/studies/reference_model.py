"""How good the model in the box is: its judge, its autoencoder, its pictures, its CLIP, and what they cost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

from ...config import Natural, Seed, checked
from ...files.documents import read_bytes
from ...metrics.intervals import rate
from ...pipeline.loading import REFERENCE
from ...reference.judge import WEIGHTS
from ...types import Estimate
from ..results.row import Row, Subject
from ..run.image_generator import ImageGenerator
from ._reference_model.bench import BATCH, SCALE, Bench
from ._reference_model.cells import CELLS, SHARED, Measured, kind_of
from ._reference_model.grid import grid
from .base import Measure, Study


@checked
@dataclass(frozen=True)
class Settings:
    """``n`` pictures a cell, in ``steps`` steps each; there are 28 objects, so a multiple of 28 treats them alike.

    ``model`` is "reference" or "reference-flux". Of the second what both have in common is left out, and times.
    """

    model: Literal["reference", "reference-flux"] = "reference"
    n: Natural = 560
    steps: Natural = 20
    seed: Seed = 900_000


class ReferenceModel(Study):
    name = "reference_model"
    Settings = Settings
    timed = ("cost",)

    def cells(self) -> dict[str, Measure]:
        """One a question; the sample grid is drawn into the record."""
        drawn = CELLS if self.settings.model == REFERENCE else [name for name in CELLS if name not in SHARED]
        return {**{name: partial(self._measure, name) for name in drawn}, "grid": self._grid}

    def identity(self) -> list[Any]:
        """The pipeline, the judge, and the CLIP that is measured."""
        clip = hashlib.sha256(read_bytes(WEIGHTS / "metric_clip" / "model.safetensors")).hexdigest()
        return [ImageGenerator(self._bench.pipeline).identity, self._bench.judge.identity, clip]

    @cached_property
    def _bench(self) -> Bench:
        return Bench(self.settings.n, self.settings.seed, self.settings.steps, self.settings.model)

    def _measure(self, name: str) -> Iterator[Row]:
        return self.rows_of(name, CELLS[name](self._bench))

    def rows_of(self, name: str, measured: Measured) -> Iterator[Row]:
        """A row for each metric, and one for each object, style or background within it."""
        for metric, values in measured.items():
            if isinstance(values, Estimate):
                yield self._row(metric, values, name)
                continue
            yield self._row(metric, rate([hit for _, hit in values]), name)
            for part in sorted({part for part, _ in values if part}):
                yield self._row(metric, rate([hit for who, hit in values if who == part]), name, part)

    def _row(self, metric: str, estimate: Estimate, prompt_set: str, concept: str = "all") -> Row:
        asked = self.settings
        return self.row(
            metric,
            estimate,
            Subject(concept, kind_of(metric, concept)),
            prompt_set,
            model=asked.model,
            judge=self._bench.judge.identity,
            seeds=f"{asked.seed}-{asked.seed + asked.n - 1}",
            settings={"steps": asked.steps, "guidance_scale": SCALE, "batch": BATCH},
            digits=4,
        )

    def _grid(self) -> list[Row]:
        """Every object, and pairs, styles and other words: ``grid.png`` beside the record. No numbers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        grid(self._bench).save(self.folder / "grid.png")
        return []
