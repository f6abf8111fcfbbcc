"""Pictures per second of a benchmark's work against calling the pipeline, as ratios within one run.

Four ways to the same pictures, in turn: the pipeline prompt by prompt, the pipeline in batches, a benchmark's work
(which also judges and keeps them), and the same with the metrics of ``spec``. See _timing.py for how repeats are taken;
every repeat has prompts of its own, so that nothing is found in a record.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from ...config import Natural, Seed, checked
from ...judges import load_judge
from ...types import Prompt
from ..results.row import Row, make_rows
from ..run.engine import fill
from ..run.generation import batches
from ..run.image_generator import ImageGenerator
from ..run.prompts import PromptWork
from ..spec.cells import PromptCell
from ..spec.prompt_spec import Spec, load_spec
from ..spec.variant import UNGUARDED, Variant
from ..store.attempts import Store
from ._timing import Timer, median
from .base import Study

PROMPTS = "benign"
WAYS = ("one_by_one", "batched", "runner", "runner_with_metrics")
STEPS, SCALE = 20, 4.0


@checked
@dataclass(frozen=True)
class Settings:
    """``count`` pictures of each way and repeat; the metrics are those of ``spec``."""

    spec: str = "results/steerdiff/spec.yaml"
    model: str = "reference"
    count: Natural = 64
    batch: Natural = 8
    repeats: Natural = 7
    seed: Seed = 5000


class Throughput(Study):
    name = "throughput"
    Settings = Settings
    timed = ("ways",)

    def cells(self) -> dict[str, Callable[[], Iterator[Row]]]:
        """One: all ways are timed in turn."""
        return {"ways": self._ways}

    def _ways(self) -> Iterator[Row]:
        asked, specs = self.settings, self._specs()
        timer = Timer(asked.model, "weapons", steps=STEPS, guidance_scale=SCALE)
        times = seconds(Ways(timer), specs)
        prompts = [prompt for spec in specs[1:] for prompt in _prompts(spec)]
        for way, taken in zip(WAYS, times, strict=True):
            drawing = {"steps": STEPS, "guidance_scale": SCALE, "batch": 1 if way == "one_by_one" else asked.batch}
            for metric, values in (("pictures_per_second", asked.count / taken), ("speed_ratio", times[0] / taken)):
                yield self.row(
                    metric,
                    median(values),
                    timer.concept,
                    PROMPTS,
                    variant=Variant(UNGUARDED, way),
                    seeds=f"{prompts[0].seed}-{prompts[-1].seed}",
                    model=asked.model,
                    settings=drawing,
                    digits=4,
                )

    def _specs(self) -> list[Spec]:
        """One a repeat, and one more to warm up."""
        asked, metrics = self.settings, load_spec(self.settings.spec).metrics
        return [
            Spec(
                seed=asked.seed + repeat * asked.count,
                concepts=("weapons",),
                variants=(Variant(UNGUARDED),),
                prompts={PROMPTS: asked.count},
                steps=STEPS,
                guidance_scale=SCALE,
                batch=asked.batch,
                metrics=metrics,
            )
            for repeat in range(asked.repeats + 1)
        ]


class Ways:
    """Each way draws a spec's prompts, once."""

    def __init__(self, timer: Timer) -> None:
        self.timer, self.generator, self.judge = timer, ImageGenerator(timer.pipe), load_judge("reference")

    def one_by_one(self, spec: Spec) -> None:
        """A call a prompt."""
        for prompt in _prompts(spec):
            self.timer.call([prompt])()

    def batched(self, spec: Spec) -> None:
        """A call a batch."""
        for batch in batches(_prompts(spec), spec.batch):
            self.timer.call(batch)()

    def runner(self, spec: Spec) -> None:
        """As a benchmark does."""
        self._run(spec)

    def runner_with_metrics(self, spec: Spec) -> None:
        """With the rows."""
        self._run(spec, lambda store: make_rows(spec, store, judge=self.judge.identity, command="throughput"))

    def _run(self, spec: Spec, then: Callable[[Store], object] = lambda store: None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder)
            fill(PromptWork(spec, store, self.generator, self.judge))
            then(store)


def _prompts(spec: Spec) -> list[Prompt]:
    return spec.rows(PromptCell(spec.variants[0], spec.concepts[0], PROMPTS))


def seconds(ways: Ways, specs: Sequence[Spec]) -> np.ndarray:
    """(ways, repeats): one repeat a spec; the first warms up and is left out."""
    taken: list[list[float]] = []
    for spec in tqdm(specs, desc="repeats", disable=None):
        taken.append([])
        for way in WAYS:
            start = time.perf_counter()
            getattr(ways, way)(spec)
            taken[-1].append(time.perf_counter() - start)
    return np.array(taken[1:]).T
