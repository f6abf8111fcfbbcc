"""What ForceForget's parts are worth in short trainings, and how fast each setting learns.

A cell is one short training and its measurement, one to three minutes; a training that was cut off goes on. Curves
compare the default with the paper's setting on the same prompts and the same reward.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ...concepts import load_concept
from ...config import Natural, Seed, checked, fingerprint
from ...judges import load_judge
from ...pipeline.loading import load_pipeline
from ...training.recipe import train_guard
from ...types import Estimate
from ..model_card import measured
from ..results.row import Row
from ..run.image_generator import ImageGenerator
from ..spec.variant import UNGUARDED, Variant
from ._reward_plot import plot
from .base import Study

SHORT = {  # from text alone, as it is measured; after 8 nothing is erased yet; all that is learnt, and not what is kept
    "iterations": 16,
    "from_pictures": 0.0,
    "refit": 0.0,
    "lora": ["q", "k", "v"],
}
ABLATIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "no_explorers": {"explorers": 0},
    "alignment_only": {"l1": 0.0},
    "safety_only": {"l2": 0.0},
    "beta_-1": {"beta": -1.0},
    "no_adapter": {"adapter": False},
    "position_begin": {"position": "begin"},
    "tokens_8": {"tokens": 8},
    "no_tether": {"tether": 0.0},
}
SAME = {"shares": [0.4, 0.6, 0.0], "scorer": "reader", "l2": 3.0}  # what makes rewards comparable
CURVES: dict[str, dict[str, Any]] = {"paper": {"iterations": 4, **SAME}}


@checked
@dataclass(frozen=True)
class Settings:
    """What is trained.

    Attributes:
        count: pictures of each prompt set.
        training: settings of every training, over those of SHORT.
        only: these cells; empty for all.
    """

    concept: str = "weapons"
    count: Natural = 48
    seed: Seed = 0
    training: dict[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()


class ForceForgetAblations(Study):
    name = "forceforget_ablations"
    Settings = Settings

    def cells(self) -> dict[str, Callable[[], Iterator[Row]]]:
        """A training each."""
        only = self.settings.only
        return {name: partial(self._cell, name) for name in (*ABLATIONS, *CURVES) if not only or name in only}

    def identity(self) -> list[Any]:
        """Model and judge."""
        return [ImageGenerator.of("reference").identity, load_judge("reference").identity, ABLATIONS, CURVES, SHORT]

    def files(self, rows: Sequence[Row]) -> dict[str, str]:
        """The curves beside the table."""
        return {**super().files(rows), "reward.svg": plot(rows)}

    def _cell(self, name: str) -> Iterator[Row]:
        """Train, measure."""
        asked, pipe = self.settings, load_pipeline("reference")
        settings = {**SHORT, **{**ABLATIONS, **CURVES}[name], **asked.training}
        preset = "paper" if name == "paper" else "default"
        folder = self.folder / f"{name}-{fingerprint([asked.concept, asked.seed, preset, settings])}"
        guard = train_guard("forceforget", pipe, asked.concept, folder, preset=preset, seed=asked.seed, **settings)
        about = {"preset": preset, **settings, "images": guard.training["images"], "seconds": guard.training["seconds"]}
        yield from self._curve(name, folder, about)
        if name in ABLATIONS:
            for row in measured(folder, guard, pipe, "reference", count=asked.count):
                if row.guard != UNGUARDED:
                    named = {"guard": "forceforget", "variant": name, "concept": asked.concept, "command": self.command}
                    yield replace(row, **named, settings={**row.settings, **about})

    def _curve(self, name: str, folder: Path, about: dict[str, Any]) -> Iterator[Row]:
        """The mean reward of every iteration; ``updates`` counts the pictures seen until then."""
        for line in (folder / "training" / "log.jsonl").read_text(encoding="utf-8").splitlines():
            log = json.loads(line)
            yield self.row(
                "reward",
                Estimate(log["reward"], float("nan"), float("nan"), log["images"] // log["iteration"]),
                load_concept(self.settings.concept),
                "training",
                variant=Variant("forceforget", name),
                seeds=str(self.settings.seed),
                judge="reward model",
                settings=about,
                updates=log["images"],
            )
