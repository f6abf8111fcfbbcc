"""Time and memory of TraSCE against the unguarded pipeline, as ratios within one run.

Variants are those of ``spec`` and TraSCE as it is loaded; see _timing.py for how time is taken. Memory is the peak of
what a call allocates on top of the weights, after a first one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from ...config import Natural, Seed, checked
from ...types import Prompt
from ..results.row import Row
from ..spec.prompt_spec import Spec, load_spec
from ..spec.variant import Variant
from ._cost import CostStudy, Metric
from ._timing import Timer, median

CELLS = {f"{prompts}, batch {batch}": (prompts, batch) for prompts in ("benign", "unsafe") for batch in (1, 8)}


@checked
@dataclass(frozen=True)
class Settings:
    """What is compared, and how often: each call ``repeats`` times, and once more to warm up."""

    spec: str = "results/trasce/spec.yaml"
    model: str = "reference"
    concept: str = "weapons"
    repeats: Natural = 9
    steps: Natural = 20
    seed: Seed = 5000


class TraSCECost(CostStudy):
    name = "trasce_cost"
    Settings = Settings
    timed = tuple(CELLS)

    def cells(self) -> dict[str, Callable[[], Iterator[Row]]]:
        """One a prompt set and batch size."""
        return {name: partial(self.measure, *cell) for name, cell in CELLS.items()}

    @cached_property
    def _spec(self) -> Spec:
        return load_spec(self.settings.spec)

    @property
    def compared(self) -> Sequence[Variant]:
        return [*self._spec.variants, Variant("trasce")]

    @property
    def guidance_scale(self) -> float:
        return self._spec.guidance_scale

    def beside(self, compared: Sequence[Variant], prompts: Sequence[Prompt]) -> Iterator[Sequence[Metric]]:
        base = peak(self.timer, compared[0], prompts)
        for variant in compared:
            yield [("memory_ratio", median(np.array([peak(self.timer, variant, prompts) / base])))]


def peak(timer: Timer, variant: Variant, prompts: Sequence[Prompt]) -> int:
    """Bytes that a call has allocated at its highest point, on top of what was there before; a first one warms up."""
    with timer.guarded(variant):
        call = timer.call(prompts)
        call()  # reads the concept's phrases, once and for all
        return _peak_of(call)


def _peak_of(call: Callable[[], Any]) -> int:
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events))
