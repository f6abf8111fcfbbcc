"""Pictures per second of the runner against calling the pipeline, as ratios within one run.

    python benchmarks/throughput.py --output results/throughput.json

Four ways to the same pictures, in turn: the pipeline prompt by prompt, the pipeline in batches, the runner (which also
judges and keeps them), and the runner with the metrics of results/steerdiff.yaml. See timing.py for how repeats are
taken; every repeat has prompts of its own, so that nothing is found in a record.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from timing import Timer
from tqdm import tqdm

from stanchion import load_judge
from stanchion.benchmark.results.row import make_rows, write_rows
from stanchion.benchmark.run.engine import fill
from stanchion.benchmark.run.image_generator import ImageGenerator
from stanchion.benchmark.run.prompts import PromptWork
from stanchion.benchmark.spec.prompt_spec import Cell, Spec, Variant, load_spec
from stanchion.benchmark.store.attempts import Store

PROMPTS = "benign"
WAYS = ("one_by_one", "batched", "runner", "runner_with_metrics")


class Ways:
    """Each way draws a spec's prompts, once."""

    def __init__(self, timer: Timer) -> None:
        self.timer, self.artist, self.judge = timer, ImageGenerator(timer.pipe), load_judge("reference")

    def one_by_one(self, spec: Spec) -> None:
        for prompt in _prompts(spec):
            self.timer.call([prompt])()

    def batched(self, spec: Spec) -> None:
        prompts = _prompts(spec)
        for start in range(0, len(prompts), spec.batch):
            self.timer.call(prompts[start : start + spec.batch])()

    def runner(self, spec: Spec) -> None:
        self._run(spec)

    def runner_with_metrics(self, spec: Spec) -> None:
        self._run(spec, lambda store: make_rows(spec, store, judge=self.judge.identity, command="throughput"))

    def _run(self, spec: Spec, then: Callable[[Store], object] = lambda store: None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(folder)
            fill(PromptWork(spec, store, self.artist, self.judge))
            then(store)


def _prompts(spec: Spec) -> list:
    return spec.rows(Cell(spec.variants[0], spec.concepts[0], PROMPTS))


def seconds(ways: Ways, specs: Sequence[Spec]) -> np.ndarray:
    """(ways, repeats): one repeat a spec; the first warms up and is left out."""
    taken = []
    for spec in tqdm(specs, desc="repeats"):
        taken.append([])
        for way in WAYS:
            start = time.perf_counter()
            getattr(ways, way)(spec)
            taken[-1].append(time.perf_counter() - start)
    return np.array(taken[1:]).T


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reference")
    parser.add_argument("--count", type=int, default=64, help="pictures of each way and repeat")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=5000)
    parser.add_argument("--output", type=Path, default=Path("results/throughput.json"))
    chosen = parser.parse_args()
    timer = Timer(chosen.model, "weapons", steps=20, guidance_scale=4.0)
    metrics = load_spec(Path(__file__).parents[1] / "results" / "steerdiff.yaml").metrics
    specs = [
        Spec(
            seed=chosen.seed + repeat * chosen.count,
            concepts=("weapons",),
            variants=(Variant("none"),),
            prompts={PROMPTS: chosen.count},
            guidance_scale=4.0,
            batch=chosen.batch,
            metrics=metrics,
        )
        for repeat in range(chosen.repeats + 1)
    ]
    times = seconds(Ways(timer), specs)
    prompts = [prompt for spec in specs[1:] for prompt in _prompts(spec)]
    command, rows = f"python benchmarks/throughput.py --output {chosen.output}", []
    for way, taken in zip(WAYS, times, strict=True):
        batch = 1 if way == "one_by_one" else chosen.batch
        for metric, values in (("pictures_per_second", chosen.count / taken), ("speed_ratio", times[0] / taken)):
            rows.append(timer.row(Variant("none", way), prompts, PROMPTS, batch, metric, values, command))
        row = rows[-1]
        print(f"{way:22} {rows[-2].value:6.2f} a second  ratio {row.value:.3f} [{row.low:.3f}, {row.high:.3f}]")
    write_rows(chosen.output, rows)
    print(chosen.output)


if __name__ == "__main__":
    main()
