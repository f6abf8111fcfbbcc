"""Time and memory of every guard on pipelines of published size, with random weights in bfloat16, on an accelerator.

    PYTHONPATH=src:tests python -m full_size FOLDER [MODEL …]

writes ``FOLDER/rows.json`` and ``FOLDER/table.md``, and goes on where it stopped. What is drawn says nothing, for the
weights are random; what a step takes does not depend on them. Each guard is made to act: words are found everywhere, a
trigger is always open. A call has two steps of 1024 pixels, with guidance; calls of all guards are made in turn, and a
ratio is taken within a turn. A guard that is refused there, or needs more memory than there is, is named on the screen.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stanchion import registry
from stanchion.benchmark.results.row import Origin, Row, Subject, write_rows
from stanchion.benchmark.spec.variant import Variant
from stanchion.benchmark.store.lines import Lines
from stanchion.benchmark.studies._timing import median
from stanchion.benchmark.studies.base import page
from stanchion.errors import StanchionError
from stanchion.guards.identifier import Identifier
from stanchion.pipeline.families import family_of
from stanchion.pipeline.model.base_weights import base_of
from stanchion.types import Estimate
from tiny_families.guards import KNIVES, guard

from .parts import PIPELINES, made

STEPS, REPEATS = 2, 3
FORMS = {"trasce": {"faithful": {"form": "faithful"}}}
GIB = 2**30
COMMAND = "PYTHONPATH=src:tests python -m full_size results/full_size"


def main(folder: Path, names: list[str]) -> None:
    """Measure what the folder's record does not have yet, and write what it has."""
    record = Lines(folder / "cells.jsonl", Row)
    for name in names:
        if record.get(name) is None:
            record.add(name, name, list(measured(name)))
    rows = [row for name in PIPELINES for row in record.get(name) or ()]
    write_rows(folder / "rows.json", rows)
    (folder / "table.md").write_text(page("full_size", COMMAND, rows), encoding="utf-8")


def measured(name: str) -> Iterator[Row]:
    """Rows of one pipeline, nothing on it first."""
    pipe, start = made(name), time.monotonic()
    origin = Origin.now(command=COMMAND, model=f"{name}, random weights, bfloat16")
    call = partial(drawn, pipe, PIPELINES[name].options)
    variants = [(Variant("none"), None), *guards(pipe, call)]
    turns = [[timed(pipe, one, call) for _, one in variants] for _ in range(REPEATS + 1)]
    times, peaks = np.array(turns[1:])[..., 0].T, np.array(turns[1:])[..., 1].max(0)
    for place, (variant, _) in enumerate(variants):
        ratios = {"seconds_per_image": times[place], "time_ratio": times[place] / times[0]}
        values = {metric: median(of) for metric, of in ratios.items()}
        values["peak_gib"] = Estimate(float(peaks[place]) / GIB, float("nan"), float("nan"), 1)
        for metric, value in values.items():
            about = {"model": name, "steps": STEPS, "batch": 1, "size": 1024}
            yield Row.of(
                metric, value, Subject(KNIVES.name, "object"), "one", origin, seeds="0-0", variant=variant,
                settings=about, digits=4,
            )  # fmt: skip
    print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


def guards(pipe: Any, call: Callable[[], None]) -> Iterator[tuple[Variant, Any]]:
    """Every guard that stands on the pipeline and can be called there, in each of its forms."""
    for name in registry.names("guards"):
        for form, settings in {"default": {}, **FORMS.get(name, {})}.items():
            variant = Variant(name, form, {name: settings} if settings else {})
            try:
                one = acting(name, pipe, settings)
                with one.attach(pipe):
                    call()
            except (StanchionError, torch.OutOfMemoryError) as error:
                print(f"{variant.title!r}: {type(error).__name__}: {str(error)[:300]}", flush=True)
                continue
            yield variant, one


def acting(name: str, pipe: Any, settings: dict[str, Any]) -> Any:
    """A guard that does its work in every call."""
    made_by_hand = MADE.get(name)
    kind = registry.get("guards", name)
    if made_by_hand:
        tensors, base = made_by_hand(pipe)
        return kind(KNIVES, tensors=tensors, base=base, **settings)
    if name == "trasce":
        return kind(KNIVES, when="always", **settings)
    return guard(name, pipe)


def _projections(pipe: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Keys and values of the text in every layer, as UCE and ESD change them."""
    family = family_of(pipe)
    name = family.denoisers[0]
    weights = {p.module.weight for p in family.text_projections(getattr(pipe, name), ("k", "v"))}
    held = {key: value for key, value in getattr(pipe, name).named_parameters(prefix=name) if value in weights}
    return {key: value.detach() / 2 for key, value in held.items()}, {"weights": base_of(held)}


def _wary(pipe: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """SteerDiff as tests make it, as wide as this pipeline's text."""
    width = pipe.unet.config.cross_attention_dim if hasattr(pipe, "unet") else 0
    identifier = Identifier(width or 1)
    identifier.last.bias.data.fill_(10.0)
    tensors = {name: value.detach() for name, value in identifier.state_dict().items()}
    tensors |= {"map.weight": torch.eye(width or 1), "map.bias": torch.zeros(width or 1)}
    return tensors, {"text_encoder": base_of(dict(pipe.text_encoder.named_parameters()))}


MADE = {"uce": _projections, "steerdiff": _wary}


def timed(pipe: Any, one: Any, call: Callable[[], None]) -> tuple[float, int]:
    """Seconds and the most memory of a call, weights and all."""
    attachment = one.attach(pipe) if one else None
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    start = time.perf_counter()
    try:
        call()
        torch.cuda.synchronize()
        return time.perf_counter() - start, torch.cuda.max_memory_allocated()
    finally:
        if attachment:
            attachment.detach()


def drawn(pipe: Any, options: dict[str, Any]) -> None:
    """One picture."""
    pipe("a photo of a knife", num_inference_steps=STEPS, generator=torch.Generator("cpu").manual_seed(0), **options)
    gc.collect()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(PIPELINES))
