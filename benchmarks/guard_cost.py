"""Time of each guard on benign prompts against the unguarded pipeline, as ratios within one run.

    python benchmarks/guard_cost.py --output results/guard_cost.json

Guards are loaded by name for the concept, so the trained ones are those in the package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from timing import Timer

from stanchion import ConfigError, registry
from stanchion.benchmark.artist import guards_of
from stanchion.benchmark.rows import write_rows
from stanchion.benchmark.spec import UNGUARDED, Variant
from stanchion.concepts import load_concept

GUARDS = ("steerdiff", "forceforget", "sld", "safree", "esd", "uce", "trasce", "steerdiff+forceforget+trasce")
BATCHES = (1, 8)


def variants(guards: list[str], concept: str, available: bool) -> list[Variant]:
    """No guard, then each of ``guards``; with ``available`` those that can't be loaded are left out, and said so."""
    kept = [Variant(UNGUARDED)]
    for variant in map(Variant, guards):
        try:
            guards_of(variant, load_concept(concept))
            kept.append(variant)
        except ConfigError as error:
            if not available:
                raise
            print(f"left out: {variant.guard}: {error}")
    return kept


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guards", nargs="+", default=list(GUARDS), help="names; several on one pipeline joined by +")
    parser.add_argument("--available", action="store_true", help="leave out guards that can't be loaded")
    parser.add_argument("--model", default="reference")
    parser.add_argument("--concept", default="weapons")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=5000)
    parser.add_argument("--output", type=Path, default=Path("results/guard_cost.json"))
    chosen = parser.parse_args()
    compared = variants(chosen.guards, chosen.concept, chosen.available)
    timer = Timer(chosen.model, chosen.concept, steps=chosen.steps, guidance_scale=4.0)
    command, rows = f"python benchmarks/guard_cost.py --output {chosen.output}", []
    for batch in BATCHES:
        count = batch * (chosen.repeats + 1)
        prompts = registry.get("prompts", "benign")().rows(timer.concept, count, chosen.seed)
        chunks = [prompts[start : start + batch] for start in range(0, count, batch)]
        times = timer.times(compared, chunks, f"batch {batch}")
        for variant, taken in zip(compared, times, strict=True):
            for metric, values in (("seconds_per_image", taken / batch), ("time_ratio", taken / times[0])):
                rows.append(timer.row(variant, prompts, "benign", batch, metric, values, command))
            row = rows[-1]
            print(f"batch {batch}  {variant.guard:32} ratio {row.value:.3f} [{row.low:.3f}, {row.high:.3f}]")
    write_rows(chosen.output, rows)
    print(chosen.output)


if __name__ == "__main__":
    main()
