"""What studies of cost share: how long, and what else, each of several variants takes beside the first of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property

from ... import registry
from ...types import Estimate, Prompt
from ..results.row import Row
from ..spec.variant import Variant
from ._timing import Timer, median
from .base import Study

Metric = tuple[str, Estimate]


class CostStudy(Study):
    """Its settings have ``model``, ``concept``, ``steps``, ``seed`` and ``repeats`` of a call; one more warms up."""

    @property
    @abstractmethod
    def compared(self) -> Sequence[Variant]:
        """The variants, no guard first."""

    @property
    def guidance_scale(self) -> float:
        """Of every picture."""
        return 4.0

    def beside(self, compared: Sequence[Variant], prompts: Sequence[Prompt]) -> Iterator[Sequence[Metric]]:
        """What is measured of each variant beside its time, on one batch."""
        yield from ([] for _ in compared)

    @cached_property
    def timer(self) -> Timer:
        """The pipeline, loaded once for all cells."""
        asked = self.settings
        return Timer(asked.model, asked.concept, steps=asked.steps, guidance_scale=self.guidance_scale)

    def measure(self, prompt_set: str, batch: int) -> Iterator[Row]:
        """Rows of each variant, over the prompts of a set batch by batch."""
        asked, timer, compared = self.settings, self.timer, self.compared
        count = batch * (asked.repeats + 1)
        prompts = registry.get("prompts", prompt_set)().rows(timer.concept, count, asked.seed)
        chunks = [prompts[start : start + batch] for start in range(0, count, batch)]
        times = timer.times(compared, chunks, f"batch {batch}")
        drawing = {"steps": asked.steps, "guidance_scale": self.guidance_scale, "batch": batch}
        for variant, taken, more in zip(compared, times, self.beside(compared, chunks[0]), strict=True):
            ratio = ("time_ratio", median(taken / times[0]))
            for metric, value in (("seconds_per_image", median(taken / batch)), ratio, *more):
                yield self.row(
                    metric,
                    value,
                    timer.concept,
                    prompt_set,
                    variant=variant,
                    seeds=f"{prompts[0].seed}-{prompts[-1].seed}",
                    model=asked.model,
                    settings={**drawing, **variant.settings},
                    digits=4,
                )
