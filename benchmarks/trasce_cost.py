"""Time and memory of TraSCE against the unguarded pipeline, as ratios within one run.

    python benchmarks/trasce_cost.py --output results/trasce_cost.json

Variants are those of results/trasce.yaml; see timing.py for how time is taken. Memory is the peak of what a call
allocates on top of the weights.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Timer

from stanchion import registry
from stanchion.benchmark.results.row import write_rows
from stanchion.benchmark.spec.prompt_spec import Variant, load_spec
from stanchion.types import Prompt

SPEC = Path(__file__).parents[1] / "results" / "trasce.yaml"
PROMPT_SETS = ("benign", "unsafe")
BATCHES = (1, 8)


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


def measure(
    timer: Timer, variants: Sequence[Variant], prompts: Sequence[Prompt], batch: int, label: str
) -> Iterator[tuple[str, Variant, np.ndarray]]:
    """(metric, variant, values over repeats) of one cell."""
    chunks = [prompts[start : start + batch] for start in range(0, len(prompts), batch)]
    times = timer.times(variants, chunks, label)
    base = peak(timer, variants[0], chunks[0])
    for variant, taken in zip(variants, times, strict=True):
        yield "seconds_per_image", variant, taken / batch
        yield "time_ratio", variant, taken / times[0]
        yield "memory_ratio", variant, np.array([peak(timer, variant, chunks[0]) / base])


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
    spec = load_spec(SPEC)
    timer = Timer(chosen.model, chosen.concept, steps=chosen.steps, guidance_scale=spec.guidance_scale)
    command, rows = f"python benchmarks/trasce_cost.py --output {chosen.output}", []
    for prompt_set, batch in itertools.product(PROMPT_SETS, BATCHES):
        prompts = registry.get("prompts", prompt_set)().rows(timer.concept, batch * (chosen.repeats + 1), chosen.seed)
        for metric, variant, values in measure(timer, spec.variants, prompts, batch, f"{prompt_set}, batch {batch}"):
            rows.append(timer.row(variant, prompts, prompt_set, batch, metric, values, command))
            title = variant.title.replace("\n", " ")
            print(f"{prompt_set:8} batch {batch}  {title:32} {metric:18} {rows[-1].value:6.3f}")
    write_rows(chosen.output, rows)
    print(chosen.output)


if __name__ == "__main__":
    main()
