"""Patronus measured: refusals and false ones, benign quality, and running time, of its two guards alone and together.

    python benchmarks/patronus.py

Pictures are drawn from the benchmark's prompts, and renders of the world are encoded and decoded. The record in
``--folder`` keeps what is done; run the command again and it goes on. ``--no-simulation FOLDER`` adds the ablation: the
guards that lie there as FOLDER/patronus_moderator and FOLDER/patronus_hardening, trained without simulated attacks
(``stanchion train patronus_moderator --concept weapons --seed 77 --set attacked_steps=0 --output …``).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import encoded
import numpy as np
from PIL import Image
from timing import Timer

from stanchion import load_concept, load_judge, registry
from stanchion.benchmark.results.row import Row, make_rows, write_rows
from stanchion.benchmark.run.engine import fill
from stanchion.benchmark.run.image_generator import ImageGenerator, guards_of
from stanchion.benchmark.run.prompts import PromptWork
from stanchion.benchmark.spec.prompt_spec import UNGUARDED, Spec, Variant
from stanchion.benchmark.store.attempts import Store
from stanchion.benchmark.store.provenance import commit, machine
from stanchion.config import fingerprint
from stanchion.guards.base import Guard
from stanchion.guards.decoder.patronus_moderator import REFUSED, ZeroTarget, psnr_to_blank
from stanchion.metrics.base import cluster_of
from stanchion.metrics.intervals import bootstrap
from stanchion.pipeline.loading import without_progress_bars
from stanchion.reference.data import to_tensor
from stanchion.types import Attempt, Estimate

COMMAND = "python benchmarks/patronus.py"
GUARDS = ("patronus_moderator", "patronus_hardening", "patronus_hardening+patronus_moderator")
SETS = ("unsafe", "paired", "benign", "neighbours")
METRICS = (
    *("unsafe_rate", "nothing_found", "companion_kept", "clean_companion", "neighbours_kept", "benign_accuracy"),
    *("benign_loss", "clip_score", "drift", "over_refusal"),
)
RENDERS = ("unsafe", "paired", "unknown")
BATCHES = (1, 8)


class ExportTimer(Timer):
    """Times a variant "exported" as well: its guards' weights in the model, and nothing attached."""

    def guarded(self, variant: Variant) -> AbstractContextManager[Any]:
        """A context in which the pipeline carries the variant's guards, or their weights alone."""
        if variant.variant == "exported":
            return encoded.in_place(self.pipe, guards_of(variant, self.concept).guards)
        return super().guarded(variant)


class Measurement:
    """What ``main`` was asked to measure, and the record that it fills."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen, self.concept = chosen, load_concept(chosen.concept)
        self.folder: Path = chosen.folder
        self.variants = variants(chosen.guards, chosen.no_simulation)
        self.judge = load_judge("reference")
        self.artist = ImageGenerator.of("reference")
        self.spec = Spec(
            seed=chosen.seed,
            concepts=(chosen.concept,),
            variants=(Variant(UNGUARDED), *self.variants),
            prompts=dict.fromkeys(SETS, chosen.count),
            guidance_scale=4.0,
            metrics=METRICS,
        )

    def generated(self) -> list[Row]:
        """Pictures from prompts: the usual metrics, how many came out blank, and what CLIP says less of them."""
        store = Store(self.folder)
        fill(PromptWork(self.spec, store, self.artist, self.judge))
        self.artist.release()
        rows = make_rows(self.spec, store, judge=self.judge.identity, command=COMMAND)
        for cell in self.spec.cells():
            key = (cell.variant.guard, cell.variant.variant, cell.concept, cell.prompt_set)
            attempts = [entry.attempt for entry in store.cell(*key).values()]
            twins = store.cell(UNGUARDED, "default", cell.concept, cell.prompt_set)
            target = encoded.zero_target(self.guards(cell.variant))
            found = {blank_metric(cell.prompt_set): encoded.share([_blank(attempt, target) for attempt in attempts])}
            if cell.variant.names and cell.prompt_set in ("benign", "neighbours"):
                found["clip_drop"] = clip_drop([(twins[attempt.prompt.id].attempt, attempt) for attempt in attempts])
            rows += [self.row(cell.variant, cell.prompt_set, metric, value) for metric, value in found.items()]
        return [named(row) for row in rows]

    def from_renders(self) -> list[Row]:
        """Renders, encoded and decoded by each decoder; a cell is kept when it is done."""
        rows = []
        for kind, count in {**dict.fromkeys(RENDERS, self.chosen.count), "benign": self.chosen.benign}.items():
            renders = encoded.Renders.of(self.concept, kind, count, self.chosen.seed)
            for place, variant in enumerate(self.spec.variants):
                found = self._kept(f"{kind}-{place}", [kind, count, self.chosen.seed], variant, renders)
                rows += [self.row(variant, f"renders_{kind}", metric, value) for metric, value in found.items()]
        return [named(row) for row in rows]

    def _kept(self, name: str, asked: list[Any], variant: Variant, renders: encoded.Renders) -> dict[str, Estimate]:
        """One cell of ``from_renders``, from its file where that holds this very guard's."""
        file = self.folder / "encoded" / f"{name}.json"
        key = fingerprint([*asked, self.artist.identity, self.artist.identity_of(variant, self.concept)])
        if file.is_file() and (values := json.loads(file.read_text(encoding="utf-8")))["key"] == key:
            return {metric: Estimate(**value) for metric, value in values["found"].items()}
        found = encoded.measure(renders, self.artist.pipeline, self.guards(variant), self.concept, self.judge)
        file.parent.mkdir(parents=True, exist_ok=True)
        values = {"key": key, "found": {metric: asdict(value) for metric, value in found.items()}}
        file.write_text(json.dumps(values), encoding="utf-8")
        return found

    def timed(self) -> list[Row]:
        """Running time against the unguarded pipeline, interleaved; kept when it is done."""
        kept = self.folder / "timed.json"
        if kept.is_file():
            return [Row(**values) for values in json.loads(kept.read_text(encoding="utf-8"))]
        timer, rows = ExportTimer("reference", self.chosen.concept, steps=self.spec.steps, guidance_scale=4.0), []
        timed = [variant for variant in self.spec.variants if variant.variant == "default"]
        timed += [replace(variant, variant="exported") for variant in timed if variant.names]
        for batch in BATCHES if self.chosen.repeats else ():
            count = batch * (self.chosen.repeats + 1)
            prompts = registry.get("prompts", "benign")().rows(self.concept, count, self.chosen.seed)
            times = timer.times(timed, [prompts[k : k + batch] for k in range(0, count, batch)], f"batch {batch}")
            for variant, taken in zip(timed, times, strict=True):
                row = timer.row(variant, prompts, "benign", batch, "time_ratio", taken / times[0], COMMAND)
                rows.append(named(row))
        if rows:
            write_rows(kept, rows)
        return rows

    def guards(self, variant: Variant) -> tuple[Guard, ...]:
        """The variant's guards; none where there is none."""
        return guards_of(variant, self.concept).guards if variant.names else ()

    def row(self, variant: Variant, prompt_set: str, metric: str, value: Estimate) -> Row:
        """A number of this command's own, with its origin."""
        first, count = self.chosen.seed, value.n + value.n_unscored
        generated = prompt_set in SETS
        return Row(
            guard=variant.guard,
            variant=variant.variant,
            concept=self.concept.name,
            kind=self.concept.kind,
            prompt_set=prompt_set,
            metric=metric,
            value=round(value.value, 6),
            low=round(value.low, 6),
            high=round(value.high, 6),
            n=value.n,
            n_unscored=value.n_unscored,
            seeds=f"{first}-{first + count - 1}" if generated else str(first),
            judge=self.judge.identity if metric == "unsafe_rate" else "none",
            model="reference",
            command=COMMAND,
            commit=commit(),
            machine=machine(),
            settings={"refused_db": REFUSED} if "blank" in metric else {},
        )


def blank_metric(prompt_set: str) -> str:
    """A blank picture is a success or a failure."""
    return "blanked" if prompt_set in ("unsafe", "paired") else "false_blank"


def clip_drop(pairs: Sequence[tuple[Attempt, Attempt]]) -> Estimate:
    """CLIP score without a guard minus that with it, in points, prompt by prompt; clustered as all means are."""
    metric = registry.get("metrics", "clip_score")()
    drops = [metric.score(twin, twin) - metric.score(attempt, twin) for twin, attempt in pairs]
    low, high = bootstrap(drops, [cluster_of(attempt.prompt) for _, attempt in pairs])
    return Estimate(sum(drops) / len(drops), low, high, len(drops))


def named(row: Row) -> Row:
    """A guard's name for its folder."""
    return replace(row, guard="+".join(Path(part).name for part in row.guard.split("+")))


def _blank(attempt: Attempt, target: ZeroTarget) -> bool:
    assert attempt.image is not None, attempt.labels  # no guard here fails closed on a prompt of the benchmark
    pixels = np.asarray(Image.open(attempt.image).convert("RGB"))
    return bool(psnr_to_blank(to_tensor(pixels[None]), target)[0] >= REFUSED)


def main() -> None:
    """Do what is left, then write rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guards", nargs="*", default=list(GUARDS), help="names, joined by + where they go together")
    parser.add_argument("--no-simulation", type=Path, help="folder of guards trained without simulated attacks")
    parser.add_argument("--concept", default="weapons")
    parser.add_argument("--count", type=int, default=200, help="pictures of each prompt set, and of each unsafe render")
    parser.add_argument("--benign", type=int, default=1000, help="benign renders")
    parser.add_argument("--repeats", type=int, default=15, help="of the timing; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, default=Path("runs/patronus"))
    parser.add_argument("--output", type=Path, default=Path("results/patronus.json"))
    chosen = parser.parse_args()
    without_progress_bars()
    measurement = Measurement(chosen)
    rows = [*measurement.generated(), *measurement.from_renders(), *measurement.timed()]
    write_rows(chosen.output, rows)
    print(f"{chosen.output}: {len(rows)} rows")


def variants(guards: Sequence[str], no_simulation: Path | None) -> list[Variant]:
    """The guards as shipped and, as far as the folder has them, as trained without simulated attacks."""
    shipped = [Variant(guard) for guard in guards]
    if no_simulation is None:
        return shipped
    folders = [[no_simulation / name for name in guard.split("+")] for guard in guards]
    there = ["+".join(map(str, parts)) for parts in folders if all(part.is_dir() for part in parts)]
    return [*shipped, *(Variant(parts, "no_simulation") for parts in there)]


if __name__ == "__main__":
    main()
