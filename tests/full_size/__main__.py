"""Time and memory of guards on pipelines of published size, with random weights in bfloat16, on an accelerator.

    PYTHONPATH=src:tests python -m full_size FOLDER [MODEL …]

writes ``FOLDER/rows.json`` and ``FOLDER/table.md``, and goes on where it stopped. What is drawn says nothing, for the
weights are random; what a step takes does not depend on them. Each guard is made to act: words are found everywhere, a
trigger is always open. A call has two steps of 1024 pixels, with guidance; an unguarded call follows each guard's. Of
the guards that replace weights UCE stands for all: they have no part in a step. Hashes of weights are left out: 24 GB
take half a minute when a guard is attached, once. A guard that is refused, or needs more memory than there is, is named
on the screen.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from stanchion import registry
from stanchion.benchmark.results.row import Origin, Row, Subject, write_rows
from stanchion.benchmark.spec.variant import Variant
from stanchion.benchmark.store.lines import Lines
from stanchion.benchmark.studies._timing import median
from stanchion.benchmark.studies.base import page
from stanchion.errors import StanchionError
from stanchion.pipeline.families import family_of
from stanchion.pipeline.model import base_weights
from stanchion.types import Estimate
from tiny_families.guards import KNIVES, guard

from .parts import PIPELINES, made

STEPS, REPEATS = 2, 2
FAITHFUL = Variant("trasce", "faithful", {"trasce": {"form": "faithful"}})
GUARDS = "negative_prompt sld trasce safree steerdiff forceforget monitor patronus_moderator picture_check uce".split()
VARIANTS = (*map(Variant, GUARDS), FAITHFUL)  # what may ask for more memory than there is comes last
DEVICE = "cuda"
GIB = 2**30
COMMAND = "PYTHONPATH=src:tests python -m full_size results/full_size"


def main(folder: Path, names: list[str]) -> None:
    """Measure what the folder's record does not have yet, and write what it has."""
    record = Lines(folder / "cells.jsonl", Row)
    for name in names:
        if record.get(name) is None:
            with patch.object(base_weights, "weights_hash", lambda *_: "unread"):
                record.add(name, name, list(measured(name)))
    rows = [row for name in PIPELINES for row in record.get(name) or ()]
    write_rows(folder / "rows.json", rows)
    (folder / "table.md").write_text(page("full_size", COMMAND, rows), encoding="utf-8")


def measured(name: str) -> Iterator[Row]:
    """Rows of one pipeline, nothing on it first."""
    start, pipe = time.monotonic(), made(name)
    origin = Origin.now(command=COMMAND, model=f"{name}, random weights, bfloat16")
    call = partial(drawn, pipe, PIPELINES[name].options)
    call()
    plain, guarded = [], []
    for variant in VARIANTS:
        plain.append(timed(call))
        try:
            with acting(variant, pipe).attach(pipe):
                call()
                guarded.append((variant, [timed(call) for _ in range(REPEATS)]))
        except (StanchionError, torch.OutOfMemoryError) as error:
            print(f"{name}, {variant.title!r}: {type(error).__name__}: {str(error)[:300]}", flush=True)
    base = np.median([seconds for seconds, _ in plain])
    for variant, calls in [(Variant("none"), plain), *guarded]:
        times, peaks = np.array(calls).T
        values = {"seconds_per_image": median(times), "time_ratio": median(times / base)}
        values["peak_gib"] = Estimate(float(peaks.max()) / GIB, float("nan"), float("nan"), len(calls))
        about = {"model": name, "steps": STEPS, "batch": 1, "size": 1024}
        for metric, value in values.items():
            told = {"seeds": "0-0", "variant": variant, "settings": about, "digits": 4}
            yield Row.of(metric, value, Subject(KNIVES.name, "object"), "one", origin, **told)
    print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


def acting(variant: Variant, pipe: Any) -> Any:
    """A guard that does its work in every call."""
    kind = registry.get("guards", variant.guard)
    with torch.device(DEVICE):
        if variant.guard == "uce":
            tensors, base = _projections(pipe)
            return kind(KNIVES, tensors=tensors, base=base)
        if variant.guard == "trasce":
            return kind(KNIVES, when="always", **variant.settings.get("trasce", {}))
        return guard(variant.guard, pipe)


def _projections(pipe: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Keys and values of the text in every layer, as UCE and ESD change them."""
    family = family_of(pipe)
    name = family.denoisers[0]
    weights = {p.module.weight for p in family.text_projections(getattr(pipe, name), ("k", "v"))}
    held = {key: value for key, value in getattr(pipe, name).named_parameters(prefix=name) if value in weights}
    return {key: value.detach() / 2 for key, value in held.items()}, {"weights": base_weights.base_of(held)}


def timed(call: Callable[[], None]) -> tuple[float, int]:
    """Seconds and the most memory of a call, weights and all."""
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start, torch.cuda.max_memory_allocated()


def drawn(pipe: Any, options: dict[str, Any]) -> None:
    """One picture."""
    pipe("a photo of a knife", num_inference_steps=STEPS, generator=torch.Generator("cpu").manual_seed(0), **options)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(PIPELINES))
