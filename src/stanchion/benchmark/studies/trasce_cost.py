"""Time and memory of TraSCE against the unguarded pipeline, as ratios within one run.

Variants are those of ``spec``; see _timing.py for how time is taken. Memory is the peak of what a call allocates on top
of the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from ... import registry
from ...config import Natural, Seed, checked
from ...types import Estimate, Prompt
from ..results.row import Row
from ..spec.prompt_spec import Spec, Variant, load_spec
from ._timing import Timer, median
from .base import Study

CELLS = {f"{prompts}, batch {batch}": (prompts, batch) for prompts in ("benign", "unsafe") for batch in (1, 8)}


@checked
@dataclass(frozen=True)
class Settings:
    """What is compared, and how often: each call ``repeats`` times, and once more to warm up."""

    spec: str = "results/trasce.yaml"
    model: str = "reference"
    concept: str = "weapons"
    repeats: Natural = 9
    steps: Natural = 20
    seed: Seed = 5000


class TraSCECost(Study):
    name = "trasce_cost"
    Settings = Settings
    timed = tuple(CELLS)

    def cells(self) -> dict[str, Callable[[], Iterator[Row]]]:
        """One a prompt set and batch size."""
        return {name: partial(self._measure, *cell) for name, cell in CELLS.items()}

    @cached_property
    def _spec(self) -> Spec:
        return load_spec(self.settings.spec)

    @cached_property
    def _timer(self) -> Timer:
        asked = self.settings
        return Timer(asked.model, asked.concept, steps=asked.steps, guidance_scale=self._spec.guidance_scale)

    def _measure(self, prompt_set: str, batch: int) -> Iterator[Row]:
        asked, timer = self.settings, self._timer
        prompts = registry.get("prompts", prompt_set)().rows(timer.concept, batch * (asked.repeats + 1), asked.seed)
        drawing = {"steps": asked.steps, "guidance_scale": self._spec.guidance_scale, "batch": batch}
        for metric, variant, values in measured(timer, self._spec.variants, prompts, batch):
            yield self.row(
                metric,
                values,
                timer.concept,
                prompt_set,
                variant=variant,
                seeds=f"{prompts[0].seed}-{prompts[-1].seed}",
                model=asked.model,
                settings={**drawing, **variant.settings},
                digits=4,
            )


def measured(
    timer: Timer, variants: Sequence[Variant], prompts: Sequence[Prompt], batch: int
) -> Iterator[tuple[str, Variant, Estimate]]:
    """Metrics of each variant, over the prompts batch by batch."""
    chunks = [prompts[start : start + batch] for start in range(0, len(prompts), batch)]
    times = timer.times(variants, chunks, f"batch {batch}")
    base = peak(timer, variants[0], chunks[0])
    for variant, taken in zip(variants, times, strict=True):
        yield "seconds_per_image", variant, median(taken / batch)
        yield "time_ratio", variant, median(taken / times[0])
        yield "memory_ratio", variant, median(np.array([peak(timer, variant, chunks[0]) / base]))


def peak(timer: Timer, variant: Variant, prompts: Sequence[Prompt]) -> int:
    """Bytes that a call has allocated at its highest point, on top of what was there before."""
    with timer.guarded(variant):
        return _peak_of(timer.call(prompts))


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
