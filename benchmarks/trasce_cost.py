"""Time and memory of TraSCE against the unguarded pipeline, as ratios within one run.

    python benchmarks/trasce_cost.py --output results/trasce_cost.json

Variants are those of results/trasce.yaml. Repeats are interleaved: each one draws the same prompts with every variant
in turn, so that whatever else the machine does falls on all of them alike. A ratio is taken within a repeat; the row
is the median over repeats. Memory is the peak of what a call allocates on top of the weights.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from stanchion import load_concept, load_pipeline, registry
from stanchion.benchmark.artist import guards_of
from stanchion.benchmark.provenance import commit, machine
from stanchion.benchmark.rows import Row, write_rows
from stanchion.benchmark.spec import Spec, Variant, load_spec
from stanchion.types import Prompt

SPEC = Path(__file__).parents[1] / "results" / "trasce.yaml"
PROMPT_SETS = ("benign", "unsafe")
BATCHES = (1, 8)


class Bench:
    """A pipeline, the spec whose variants are timed, and one concept."""

    def __init__(self, spec: Spec, model: str, concept: str, steps: int) -> None:
        self.spec, self.model, self.steps = spec, model, steps
        self.concept = load_concept(concept)
        self.pipe = load_pipeline(model)

    def call(self, prompts: Sequence[Prompt]) -> Callable[[], Any]:
        """One call of the pipeline, ready to be made."""
        generators = [torch.Generator("cpu").manual_seed(prompt.seed) for prompt in prompts]
        options = {"num_inference_steps": self.steps, "guidance_scale": self.spec.guidance_scale}
        return lambda: self.pipe([prompt.text for prompt in prompts], generator=generators, **options)

    def seconds(self, variant: Variant, prompts: Sequence[Prompt]) -> float:
        """Wall time of one call, its batch and all, as in a service: a guard was attached and used before."""
        with self._guarded(variant):
            self.pipe("", num_inference_steps=1)
            call = self.call(prompts)
            _wait()
            start = time.perf_counter()
            call()
            _wait()
            return time.perf_counter() - start

    def peak(self, variant: Variant, prompts: Sequence[Prompt]) -> int:
        """Bytes that a call has allocated at its highest point, on top of what was there before."""
        with self._guarded(variant):
            return _peak_of(self.call(prompts))

    def _guarded(self, variant: Variant) -> Any:
        guards = guards_of(variant, self.concept)
        return guards.attach(self.pipe) if guards else nullcontext()


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


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


def measure(bench: Bench, prompt_set: str, batch: int, repeats: int, seed: int) -> Iterator[tuple[str, Variant, Any]]:
    """(metric, variant, values over repeats) of one cell."""
    rows = registry.get("prompts", prompt_set)().rows(bench.concept, batch * (repeats + 1), seed)
    chunks = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    times: dict[int, list[float]] = {}
    for place, chunk in enumerate(tqdm(chunks, desc=f"{prompt_set}, batch {batch}")):
        for position, variant in enumerate(bench.spec.variants):
            taken = bench.seconds(variant, chunk)
            if place:  # the first round warms up
                times.setdefault(position, []).append(taken)
    plain = np.array(times[0])
    base = bench.peak(bench.spec.variants[0], chunks[0])
    for position, variant in enumerate(bench.spec.variants):
        yield "seconds_per_image", variant, np.array(times[position]) / batch
        yield "time_ratio", variant, np.array(times[position]) / plain
        yield "memory_ratio", variant, np.array([bench.peak(variant, chunks[0]) / base])


def median(values: np.ndarray) -> tuple[float, float, float]:
    """The median with a bootstrapped 95 % interval."""
    drawn = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(np.median(values)), float(low), float(high)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reference")
    parser.add_argument("--concept", default="weapons")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=5000)
    parser.add_argument("--output", type=Path, default=Path("results/trasce_cost.json"))
    chosen = parser.parse_args()
    bench = Bench(load_spec(SPEC), chosen.model, chosen.concept, chosen.steps)
    rows = []
    for prompt_set, batch in itertools.product(PROMPT_SETS, BATCHES):
        for metric, variant, values in measure(bench, prompt_set, batch, chosen.repeats, chosen.seed):
            rows.append(make_row(bench, prompt_set, batch, chosen, metric, variant, values))
            title = variant.title.replace("\n", " ")
            print(f"{prompt_set:8} batch {batch}  {title:32} {metric:18} {rows[-1].value:6.3f}")
    write_rows(chosen.output, rows)
    print(chosen.output)


def make_row(
    bench: Bench, prompt_set: str, batch: int, chosen: argparse.Namespace, metric: str, variant: Variant, values: Any
) -> Row:
    """One measured number with its origin."""
    value, low, high = (round(number, 4) for number in median(values))
    drawing = {"steps": bench.steps, "guidance_scale": bench.spec.guidance_scale, "batch": batch}
    return Row(
        guard=variant.guard,
        variant=variant.variant,
        concept=bench.concept.name,
        kind=bench.concept.kind,
        prompt_set=prompt_set,
        metric=metric,
        value=value,
        low=low,
        high=high,
        n=len(values),
        n_unscored=0,
        seeds=f"{chosen.seed}-{chosen.seed + batch * (chosen.repeats + 1) - 1}",
        judge="none",
        model=bench.model,
        command=f"python benchmarks/trasce_cost.py --output {chosen.output}",
        commit=commit(),
        machine=machine(),
        settings={**drawing, **variant.settings},
    )


if __name__ == "__main__":
    main()
