"""Carries out cells: releases the model, attacks it, and judges its pictures after so many updates."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

from .... import registry
from ....concepts import Concept, load_concept
from ....config import fingerprint
from ....guards.base import Guard
from ....pipeline.loading import load_pipeline
from ....pipeline.release import merge
from ....types import Prompt
from ...spec.weight_spec import DIRECT, WeightCell, WeightSpec, attack_of, load_guards_of
from ...store.curve import CurvePoint
from ..harness import Harness, found, nothing, shows
from . import finetuning_data
from .goals import Asked, goal_of, subject


class Driver:
    """A spec, with what its cells share: the public model and the guards."""

    def __init__(self, spec: WeightSpec) -> None:
        self.spec = spec
        self.concept = load_concept(spec.concept)
        self._guards: dict[str, list[Guard]] = {}

    @cached_property
    def public(self) -> Harness:
        """The model as everybody has it; nobody changes it."""
        return self._harness(load_pipeline(self.spec.model))

    def key(self, cell: WeightCell) -> str:
        """Names all that decides a cell's points: what was measured once need not be measured again."""
        guards = [guard.identity for guard in self._guards_of(cell)]
        trial = {key: value for key, value in asdict(cell.trial).items() if key not in ("guards", "sweep", "seeds")}
        trial["settings"] = cell.settings
        spec = {key: value for key, value in asdict(self.spec).items() if key != "trials"}
        model = [self.public.generator.identity, self.public.judge.identity]
        return fingerprint([spec, trial, self.first(cell, cell.trial.n), cell.seed, guards, model])

    def points(self, cell: WeightCell) -> Iterator[CurvePoint]:
        """Attack the cell's model; a point at each stop."""
        goal = goal_of(cell.trial, self.concept)
        asked, harmless = self._prompts(cell)
        if cell.trial.attack == DIRECT:
            yield self._point(self.public, asked, harmless, goal.concept, 0, 0.0)
            return
        pipe = load_pipeline(self.spec.model)
        merge(pipe, self._guards_of(cell))
        harness, attack = self._harness(pipe), attack_of(cell)
        asked = [replace(prompt, text=attack.worded(prompt.text, subject(prompt))) for prompt in asked]
        # Pictures to train on are the same for every model; their seed is far from those that are measured.
        material = finetuning_data.of_drafts(goal.taught, cell.trial.pictures, 1_000_000 + cell.seed)
        start = time.perf_counter()
        for updates in attack.run(harness.bench, material, public=self.public.bench, seed=cell.seed):
            seconds = time.perf_counter() - start
            yield self._point(harness, asked, harmless, goal.concept, updates, seconds)
            start = time.perf_counter()

    def _harness(self, pipe: Any) -> Harness:
        spec = self.spec
        return Harness(pipe, steps=spec.steps, guidance_scale=spec.guidance_scale, batch=spec.batch, judge=spec.judge)

    def _prompts(self, cell: WeightCell) -> tuple[list[Prompt], list[Prompt]]:
        """Of the concept and harmless ones; each seed of an attack has its own."""
        trial, goal = cell.trial, goal_of(cell.trial, self.concept)
        asked = Asked(goal.asked).rows(goal.concept, trial.n, self.first(cell, trial.n))
        harmless = registry.get("prompts", "benign")().rows(self.concept, trial.benign, self.first(cell, trial.benign))
        return asked, harmless

    def first(self, cell: WeightCell, n: int) -> int:
        """The seed of the cell's first picture."""
        return self.spec.seed + cell.trial.seeds.index(cell.seed) * n

    def _point(
        self,
        harness: Harness,
        asked: list[Prompt],
        harmless: list[Prompt],
        concept: Concept,
        updates: int,
        seconds: float,
    ) -> CurvePoint:
        drawn = harness.draw(asked, concept)
        return CurvePoint(
            updates,
            found=tuple(found(attempt) for attempt in drawn),
            nothing=tuple(nothing(attempt) for attempt in drawn),
            named=tuple(shows(attempt) for attempt in drawn),
            benign=tuple(shows(attempt) for attempt in harness.draw(harmless, concept)),
            seconds=round(seconds, 2),
        )

    def _guards_of(self, cell: WeightCell) -> list[Guard]:
        if cell.guard not in self._guards:
            self._guards[cell.guard] = load_guards_of(cell.guard, self.concept)
        return self._guards[cell.guard]
