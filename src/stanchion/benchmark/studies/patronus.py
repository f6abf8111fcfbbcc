"""Patronus measured: refusals and false ones, benign quality, and running time, of its two guards alone and together.

Pictures are drawn from the benchmark's prompts, and renders of the world are encoded and decoded. ``no_simulation``
adds the ablation: the guards that lie there as FOLDER/patronus_moderator and FOLDER/patronus_hardening, trained without
simulated attacks (``stanchion train patronus_moderator --concept weapons --set attacked_steps=0 --output …``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ... import registry
from ...concepts import Concept, load_concept
from ...config import Count, Natural, Seed, checked
from ...guards.base import Guard
from ...guards.decoder.patronus_moderator import REFUSED, ZeroTarget, psnr_to_blank
from ...judges import load_judge
from ...judges.base import Judge
from ...metrics.base import cluster_of
from ...metrics.intervals import bootstrap, rate
from ...reference.data import to_tensor
from ...types import Attempt, Estimate
from ..results.row import Row, make_rows
from ..run.engine import fill
from ..run.image_generator import ImageGenerator, guards_of
from ..run.prompts import PromptWork
from ..spec.cells import PromptCell
from ..spec.prompt_spec import Spec
from ..spec.variant import UNGUARDED, Variant
from ..store.attempts import Store
from . import _encoded as encoded
from ._timing import Timer, median
from .base import Study

SETS = ("unsafe", "paired", "benign", "neighbours")
METRICS = (
    *("unsafe_rate", "nothing_found", "companion_kept", "clean_companion", "neighbours_kept", "benign_accuracy"),
    *("benign_loss", "reference_clip_score", "drift", "over_refusal"),
)
RENDERS = ("unsafe", "paired", "unknown", "benign")
BATCHES = (1, 8)
MODERATOR, HOSTED = "patronus_moderator", "hosted"  # it decides beside the stock decoder, which draws


@checked
@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        guards: names, joined by + where they go together.
        no_simulation: folder of guards that were trained without simulated attacks; empty for none.
        count: pictures of each prompt set, and of each kind of unsafe renders.
        benign: benign renders.
        repeats: of the timing; 0 leaves it out.
        steps: denoising steps of the pictures from prompts.
    """

    guards: tuple[str, ...] = (
        "patronus_moderator",
        "patronus_hardening",
        "patronus_hardening+patronus_moderator",
    )
    no_simulation: str = ""
    concept: str = "weapons"
    count: Natural = 200
    benign: Natural = 1000
    repeats: Count = 15
    steps: Natural = 20
    seed: Seed = 200_000


class ExportTimer(Timer):
    """Times a variant "exported" as well: its guards' weights in the model, and nothing attached."""

    def guarded(self, variant: Variant) -> AbstractContextManager[Any]:
        """A context in which the pipeline carries the variant's guards, or their weights alone."""
        if variant.variant == "exported":
            return encoded.in_place(self.pipe, guards_of(variant, self.concept).guards)
        return super().guarded(variant)


class Patronus(Study):
    name = "patronus"
    Settings = Settings
    timed = tuple(f"times, batch {batch}" for batch in BATCHES)

    def cells(self) -> dict[str, Callable[[], Iterable[Row]]]:
        """Pictures, renders of each kind, times of each batch size."""
        cells: dict[str, Callable[[], Iterable[Row]]] = {"pictures": self._pictures}
        cells |= {f"renders, {kind}": partial(self._renders, kind) for kind in RENDERS}
        if self.settings.repeats:
            cells |= {f"times, batch {batch}": partial(self._times, batch) for batch in BATCHES}
        return cells

    def identity(self) -> list[Any]:
        """Model, judge and guards."""
        guards = [self._generator.identity_of(variant, self._concept) for variant in self._spec.variants]
        return [self._generator.identity, self._judge.identity, guards]

    @cached_property
    def _concept(self) -> Concept:
        return load_concept(self.settings.concept)

    @cached_property
    def _judge(self) -> Judge:
        return load_judge("reference")

    @cached_property
    def _generator(self) -> ImageGenerator:
        return ImageGenerator.of("reference")

    @cached_property
    def _spec(self) -> Spec:
        asked = self.settings
        return Spec(
            seed=asked.seed,
            concepts=(asked.concept,),
            variants=(Variant(UNGUARDED), *variants(asked.guards, asked.no_simulation)),
            prompts=dict.fromkeys(SETS, asked.count),
            guidance_scale=4.0,
            steps=asked.steps,
            metrics=METRICS,
        )

    def _pictures(self) -> Iterator[Row]:
        """From prompts: the usual metrics, how many came out blank, and what CLIP says less of them."""
        store = Store(self.folder)
        fill(PromptWork(self._spec, store, self._generator, self._judge))
        self._generator.release()
        for row in make_rows(self._spec, store, judge=self._judge.identity, command=self.command):
            yield named(row)
        for cell in self._spec.cells():
            for metric, value in self._blanks(store, cell).items():
                yield self._row(cell.variant, cell.prompt_set, metric, value)

    def _blanks(self, store: Store, cell: PromptCell) -> dict[str, Estimate]:
        key = (cell.variant.guard, cell.variant.variant, cell.concept, cell.prompt_set)
        attempts = [entry.attempt for entry in store.cell(*key).values()]
        twins = store.cell(UNGUARDED, "default", cell.concept, cell.prompt_set)
        target = encoded.zero_target(self._guards(cell.variant))
        found = {blank_metric(cell.prompt_set): rate([_blank(attempt, target) for attempt in attempts])}
        if cell.variant.names and cell.prompt_set in ("benign", "neighbours"):
            found["clip_drop"] = clip_drop([(twins[attempt.prompt.id].attempt, attempt) for attempt in attempts])
        return found

    def _renders(self, kind: str) -> Iterator[Row]:
        """Renders, encoded and decoded by each decoder."""
        asked = self.settings
        renders = encoded.Renders.of(self._concept, kind, asked.benign if kind == "benign" else asked.count, asked.seed)
        alone = [variant for variant in self._spec.variants if variant.names == [MODERATOR]]
        for variant in (*self._spec.variants, *(replace(variant, variant=HOSTED) for variant in alone)):
            how = (renders, self._generator.pipeline, self._guards(variant), self._concept, self._judge)
            for metric, value in encoded.measure(*how, hosted=variant.variant == HOSTED).items():
                yield self._row(variant, f"renders_{kind}", metric, value)

    def _times(self, batch: int) -> Iterator[Row]:
        """Running time against the unguarded pipeline, interleaved."""
        asked = self.settings
        timer = ExportTimer("reference", asked.concept, steps=self._spec.steps, guidance_scale=4.0)
        compared = [variant for variant in self._spec.variants if variant.variant == "default"]
        compared += [replace(variant, variant="exported") for variant in compared if variant.names]
        count = batch * (asked.repeats + 1)
        prompts = registry.get("prompts", "benign")().rows(self._concept, count, asked.seed)
        times = timer.times(compared, [prompts[k : k + batch] for k in range(0, count, batch)], f"batch {batch}")
        drawing = {"steps": self._spec.steps, "guidance_scale": 4.0, "batch": batch}
        seeds = f"{prompts[0].seed}-{prompts[-1].seed}"
        for variant, taken in zip(compared, times, strict=True):
            about: dict[str, Any] = {"variant": variant, "seeds": seeds, "settings": drawing, "digits": 4}
            yield named(self.row("time_ratio", median(taken / times[0]), self._concept, "benign", **about))

    def _guards(self, variant: Variant) -> tuple[Guard, ...]:
        """The variant's guards; none where there is none."""
        return guards_of(variant, self._concept).guards if variant.names else ()

    def _row(self, variant: Variant, prompt_set: str, metric: str, value: Estimate) -> Row:
        """A number of this study's own."""
        first, count = self.settings.seed, value.n + value.n_unscored
        made = self.row(
            metric,
            value,
            self._concept,
            prompt_set,
            variant=variant,
            seeds=f"{first}-{first + count - 1}" if prompt_set in SETS else str(first),
            judge=self._judge.identity if metric == "unsafe_rate" else "none",
            settings={"refused_db": REFUSED} if "blank" in metric else {},
        )
        return named(made)


def blank_metric(prompt_set: str) -> str:
    """A blank picture is a success or a failure."""
    return "blanked" if prompt_set in ("unsafe", "paired") else "false_blank"


def clip_drop(pairs: Sequence[tuple[Attempt, Attempt]]) -> Estimate:
    """CLIP score without a guard minus that with it, in points, prompt by prompt; clustered as all means are."""
    metric = registry.get("metrics", "reference_clip_score")()
    drops = [metric.score(twin, twin) - metric.score(attempt, twin) for twin, attempt in pairs]
    low, high = bootstrap(drops, [cluster_of(attempt.prompt) for _, attempt in pairs])
    return Estimate(sum(drops) / len(drops), low, high, len(drops))


def named(row: Row) -> Row:
    """A guard's name for its folder."""
    return replace(row, guard="+".join(Path(part).name for part in row.guard.split("+")))


def _blank(attempt: Attempt, target: ZeroTarget) -> bool:
    assert attempt.image is not None, attempt.labels  # no guard here fails closed on a prompt of the benchmark
    pixels = np.array(Image.open(attempt.image).convert("RGB"))
    return bool(psnr_to_blank(to_tensor(pixels[None]), target)[0] >= REFUSED)


def variants(guards: Sequence[str], no_simulation: str) -> list[Variant]:
    """The guards as shipped and, as far as the folder has them, as trained without simulated attacks."""
    shipped = [Variant(guard) for guard in guards]
    if not no_simulation:
        return shipped
    folders = [[Path(no_simulation) / name for name in guard.split("+")] for guard in guards]
    there = ["+".join(map(str, parts)) for parts in folders if all(part.is_dir() for part in parts)]
    return [*shipped, *(Variant(parts, "no_simulation") for parts in there)]
