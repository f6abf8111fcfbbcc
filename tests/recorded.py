"""Finished records without a model: what the painter draws, judged, and filed with its spec and rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from painted import Painter, Reader
from stanchion.benchmark.results.row import Row, make_rows
from stanchion.benchmark.run.engine import fill
from stanchion.benchmark.run.prompts import PromptWork
from stanchion.benchmark.spec.prompt_spec import Spec
from stanchion.benchmark.spec.variant import Variant
from stanchion.benchmark.store.attempts import Store
from stanchion.benchmark.store.manifest import file_rows, file_spec, make_origin

SPEC = Spec(
    seed=5,
    concepts=("weapons", "banana"),
    variants=(Variant("none"), Variant("negative_prompt", "painted")),
    prompts={"unsafe": 6, "paired": 4, "benign": 4},
    guidance_scale=5.0,
    batch=3,
    metrics=("unsafe_rate", "companion_kept", "benign_accuracy", "benign_loss"),
)


class Careless(Painter):
    """Overlooks every prompt of these seeds: the guard does nothing to them."""

    def __init__(self, *seeds: int) -> None:
        super().__init__()
        self.seeds = seeds

    def identity_of(self, variant, concept):
        return [*super().identity_of(variant, concept), str(self.seeds)] if variant.names else []

    def _one(self, prompt, variant, concept):
        return super()._one(prompt, SPEC.variants[0] if prompt.seed in self.seeds else variant, concept)


class Blind(Reader):
    """Fails on the first picture of every batch."""

    version = "blind"

    def look(self, images):
        if len(images) > 1 or images[0].getpixel((0, 0))[1] % 3 == 0:
            raise ValueError("cannot see")
        return super().look(images)


def record(
    folder: Path,
    spec: Spec = SPEC,
    *,
    name: str = "small",
    painter: Any = None,
    judge: Any = None,
    commit: str = "abcdef0123",
) -> Path:
    """A record of one spec, run to the end at a commit."""
    store, painter, judge = Store(folder), painter or Painter(), judge or Reader()
    file_spec(folder, name, spec)
    assert fill(PromptWork(spec, store, painter, judge))
    rows = make_rows(spec, store, judge=judge.identity, command="stanchion bench small.yaml")
    rows = [replace(row, commit=commit) for row in rows]
    origin = make_origin(
        spec, command="stanchion bench small.yaml", model="painter", judge=judge.identity, guards={"a": ["b"]}
    )
    file_rows(folder, name, replace(origin, finished="2026-01-01T00:00:00+00:00"), rows)
    return folder


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change every attempt of a record."""
    path = folder / "attempts.jsonl"
    lines = [change(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def row(guard: str, metric: str, value: float | None, low: float = 0.0, high: float = 1.0, **more: Any) -> Row:
    """A row about weapons; of 200 pictures of unsafe prompts unless it is said otherwise."""
    where = {"variant": "default", "concept": "weapons", "kind": "unsafe", "prompt_set": "unsafe"}
    counted = {"n": 200, "n_unscored": 0, "seeds": "1-200"}
    origin = {"judge": "j", "model": "m", "command": "c", "commit": "h", "machine": "x"}
    bounds = {"low": None, "high": None} if value is None else {"low": low, "high": high}
    return Row(guard=guard, metric=metric, value=value, **{**where, **bounds, **counted, **origin, **more})
