"""Time of each guard on benign prompts against the unguarded pipeline, as ratios within one run.

    python benchmarks/guard_cost.py --output results/guard_cost.json

Variants are those of the specs in results/ that compare guards; trained guards are the ones in the package. See
timing.py for how time is taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from timing import Timer

from stanchion import ConfigError, load_concept, registry
from stanchion.benchmark.results.row import write_rows
from stanchion.benchmark.run.image_generator import guards_of
from stanchion.benchmark.spec.prompt_spec import UNGUARDED, Variant, load_spec
from stanchion.errors import UnknownName

SPECS = ("steerdiff", "forceforget", "stack")
BATCHES = (1, 8)


def variants(guards: list[str], concept: str, available: bool) -> list[Variant]:
    """Those of the specs, no guard first; ``guards`` keeps only these.

    With ``available`` those that can't be loaded are left out, and said so.
    """
    folder = Path(__file__).parents[1] / "results"
    known = {variant.title: variant for name in SPECS for variant in load_spec(folder / f"{name}.yaml").variants}
    names = {variant.guard for variant in known.values()}
    for guard in guards:
        if guard not in names:
            raise UnknownName(registry.unknown("guard of the specs", guard, names))
    plain, *guarded = (variant for variant in known.values() if not guards or variant.guard in (UNGUARDED, *guards))
    kept = [plain]
    for variant in guarded:
        try:
            guards_of(variant, load_concept(concept))
            kept.append(variant)
        except ConfigError as error:
            if not available:
                raise
            print(f"left out: {_title(variant)}: {error}")
    return kept


def _title(variant: Variant) -> str:
    return variant.title.replace("\n", " ")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guards", nargs="+", default=[], help="only these of the specs' guards")
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
            print(f"batch {batch}  {_title(variant):36} ratio {row.value:.3f} [{row.low:.3f}, {row.high:.3f}]")
    write_rows(chosen.output, rows)
    print(chosen.output)


if __name__ == "__main__":
    main()
