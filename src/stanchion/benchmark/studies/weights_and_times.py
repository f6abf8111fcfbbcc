"""What the papers' claims ask for beside pictures: weights and sizes of guards, times, and filters of texts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ... import registry
from ...concepts import Concept
from ...config import Natural, Seed, checked
from ...guards.loading import load_guard
from ...metrics.intervals import rate
from ...pipeline.generation import generate
from ...pipeline.model.base_weights import weights_hash
from ...pipeline.model.workbench import Workbench
from ...types import Estimate, Prompt
from ..results.row import Row
from ..run.image_generator import ImageGenerator
from ..spec.variant import UNGUARDED, Variant
from ._timing import Timer
from .base import Measure, Study

MODULES = ("text_encoder", "unet", "vae")
GUARDS = ("steerdiff", "forceforget", "trasce")
BATCH, SCALE, FIRST_PICTURES = 8, 4.0, 5


@checked
@dataclass(frozen=True)
class Settings:
    """``count`` prompts that use synonyms; ``repeats`` of each call that is timed, and one more to warm up."""

    concept: str = "weapons"
    model: str = "reference"
    count: Natural = 100
    repeats: Natural = 9
    steps: Natural = 20
    seed: Seed = 200_000


class WeightsAndTimes(Study):
    name = "weights_and_times"
    Settings = Settings
    timed = ("times",)

    def cells(self) -> dict[str, Measure]:
        """A second or two each."""
        return {"weights": self._weights, "times": self._times, "filters": self._filters}

    def identity(self) -> list[Any]:
        """Model and guards."""
        return [ImageGenerator(self._timer.pipe).identity, [guard.identity for guard in self._guards.values()]]

    @cached_property
    def _timer(self) -> Timer:
        asked = self.settings
        return Timer(asked.model, asked.concept, steps=asked.steps, guidance_scale=SCALE)

    @cached_property
    def _guards(self) -> dict[str, Any]:
        return {name: load_guard(name, self._timer.concept) for name in GUARDS}

    def _weights(self) -> Iterator[Row]:
        """Whether a guard changes the model's weights, and how many numbers it adds."""
        for name, guard in self._guards.items():
            yield self._row("weights_changed", _exactly(self._changed(guard), len(MODULES)), name)
            yield self._row("added_parameters", _exactly(added(self._timer.pipe, guard)), name)

    def _changed(self, guard: Any) -> bool:
        """Whether any weight of the model is another while the guard is attached."""
        pipe, asked = self._timer.pipe, self.settings
        before = hashes(pipe)
        with guard.attach(pipe):
            generate(pipe, [asked.seed], steps=asked.steps, guidance_scale=SCALE, prompt=["a cat"])
            return before != hashes(pipe)

    def _times(self) -> Iterator[Row]:
        """Eight benign pictures with each guard against without, in turn; and a guard's first picture."""
        prompts, repeats = self._prompts("benign", BATCH), self.settings.repeats
        variants = [Variant(UNGUARDED), *map(Variant, GUARDS)]
        times = self._timer.times(variants, [prompts] * (repeats + 1), "guards")
        for variant, taken in zip(variants[1:], times[1:], strict=True):
            yield self._row("time_ratio", _spread(taken / times[0]), variant.guard)
        yield self._row("seconds_to_first_picture", _spread(self._first_pictures()), "trasce")

    def _first_pictures(self) -> list[float]:
        """Seconds from a concept's name to the first guarded picture."""
        taken, pipe = [], self._timer.pipe
        for seed in range(FIRST_PICTURES):
            start = time.perf_counter()
            with load_guard("trasce", self._timer.concept).attach(pipe):
                generate(pipe, [seed], steps=self.settings.steps, guidance_scale=SCALE, prompt=["a cat"])
            taken.append(time.perf_counter() - start)
        return taken

    def _filters(self) -> Iterator[Row]:
        """What a word list and a classifier of sentences let through of prompts that use synonyms.

        The list holds the concept's own labels. The classifier is ridge regression on the mean text state, fitted on
        prompts that name the concept and on benign ones, from sentences that the measured prompts do not share.
        """
        concept, bench = self._timer.concept, Workbench(self._timer.pipe)
        synonyms = [prompt.text for prompt in self._prompts("synonyms", self.settings.count)]
        listed = [any(label in text.split() for label in concept.labels) for text in synonyms]
        yield self._row("missed", rate([not hit for hit in listed]), "word_list", "synonyms")
        unsafe = sentences(concept)
        benign = [prompt.text for prompt in self._prompts("benign", len(unsafe))]
        states, labels = means(bench, unsafe + benign), torch.tensor([1.0] * len(unsafe) + [-1.0] * len(benign))
        weights = torch.linalg.solve(states.T @ states + torch.eye(states.shape[1]), states.T @ labels)
        missed = rate([float(score) <= 0 for score in means(bench, synonyms) @ weights])
        yield self._row("missed", missed, "sentence_classifier", "synonyms")

    def _prompts(self, prompt_set: str, count: int) -> list[Prompt]:
        rows: list[Prompt] = registry.get("prompts", prompt_set)().rows(self._timer.concept, count, self.settings.seed)
        return rows

    def _row(self, metric: str, estimate: Estimate, guard: str, prompt_set: str = "benign") -> Row:
        asked = self.settings
        return self.row(
            metric,
            estimate,
            self._timer.concept,
            prompt_set,
            model=asked.model,
            variant=Variant(guard),
            seeds=f"{asked.seed}-{asked.seed + asked.count - 1}",
            settings={"steps": asked.steps, "guidance_scale": SCALE, "batch": BATCH},
            digits=4,
        )


def sentences(concept: Concept) -> list[str]:
    """Prompts that name the concept."""
    return [f"{phrase} {place}" for phrase in concept.targets for place in ("on a table", "in the grass", "at night")]


def hashes(pipe: Any) -> list[str]:
    """Of the weights of each module."""
    return [weights_hash(dict(getattr(pipe, name).named_parameters())) for name in MODULES]


def added(pipe: Any, guard: Any) -> float:
    """The guard's numbers as a share of the model's."""
    model = sum(parameter.numel() for name in MODULES for parameter in getattr(pipe, name).parameters())
    return sum(tensor.numel() for tensor in guard.tensors.values()) / model


def means(bench: Workbench, texts: Sequence[str]) -> torch.Tensor:
    """(N, D + 1): the mean state of each text's own tokens, and 1."""
    read = bench.read(texts)
    assert read.content is not None
    mask = read.content.float()[..., None]
    means = (read.embeds.float() * mask).sum(1) / mask.sum(1)
    return torch.cat([means, torch.ones(len(means), 1)], 1).cpu()


def _exactly(value: float, n: int = 1) -> Estimate:
    """A number that nobody drew."""
    return Estimate(float(value), math.nan, math.nan, n)


def _spread(values: Sequence[float]) -> Estimate:
    """Median, least and most."""
    return Estimate(float(np.median(values)), float(min(values)), float(max(values)), len(values))
