"""The image server under an open loop of requests, at shares of what its guarded pipeline draws, batching on and off.

Half of the prompts ask for weapons. Every picture that was handed out is looked for in the audit log and judged again.
The capacity is that of the same guarded pipeline called in batches without a server. A machine's speed drifts by the
minute, so it is measured before each level and after it; a share of capacity is one of both together.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ... import registry
from ...concepts import Concept, load_concept
from ...config import Natural, Positive, Seed, checked
from ...judges import load_judge
from ...types import Estimate, Prompt
from ..results.markdown import NOTHING, below, table
from ..results.row import Row
from ..spec.variant import UNGUARDED, Variant
from ._open_loop import Reply, offer
from ._server_process import ServerProcess, server_process
from ._timing import Timer, median
from .base import Study

GUARDS = Variant("steerdiff+picture_check")  # what a server without a policy has
ALONE = (Variant(UNGUARDED), GUARDS)
STEPS, SCALE, QUEUE = 20, 4.0, 64
CONCEPT, SETS, MANY = "weapons", ("unsafe", "benign"), 64
ABOUT = "Alone: pictures a second of the pipeline without a server, in batches, before and after the level."
DRAWN = (200, 400)  # handed out, or withheld by the picture check
PER_LEVEL = (
    *("offered_per_second", "drawn_per_second", "drawn_of_capacity", "seconds_p50", "seconds_p95", "seconds_p99"),
    *("turned_away", "turned_away_ms_p50", "turned_away_ms_p99", "failed", "unguarded", "memory_growth"),
)


@checked
@dataclass(frozen=True)
class Settings:
    """``seconds`` of each level; ``levels`` are shares of the capacity; ``alone`` of each measurement of it."""

    model: str = "reference"
    seconds: Positive = 600.0
    levels: tuple[Positive, ...] = (0.5, 1.0, 2.0)
    batch: Natural = 8
    alone: Positive = 60.0
    seed: Seed = 7000


@dataclass(frozen=True)
class LoadLevel:
    """What came of one level; ``memory`` second by second, in MiB."""

    offered: float
    seconds: float
    replies: Sequence[Reply]
    memory: Sequence[float]
    unguarded: int

    def values(self, capacity: float) -> dict[str, tuple[float, int]]:
        """By metric: the number, and of how many."""
        drawn = [reply for reply in self.replies if reply.status in DRAWN]
        away = [1000 * reply.seconds for reply in self.replies if reply.status == 429]
        rate = sum(reply.at <= self.seconds for reply in drawn) / self.seconds
        asked, waited = len(self.replies), [reply.seconds for reply in drawn]
        failed = asked - len(drawn) - len(away)
        numbers = (
            *((self.offered, asked), (rate, len(drawn)), (rate / capacity, len(drawn))),
            *((_quantile(waited, share), len(waited)) for share in (0.5, 0.95, 0.99)),
            *((len(away) / asked, asked), (_quantile(away, 0.5), len(away)), (_quantile(away, 0.99), len(away))),
            *((failed, asked), (self.unguarded, len(drawn)), (_growth(self.memory), len(self.memory))),
        )
        return dict(zip(PER_LEVEL, numbers, strict=True))


class ServerLoad(Study):
    name = "server_load"
    Settings = Settings

    def __init__(self, settings: Any, folder: Path) -> None:
        super().__init__(settings, folder)
        self.timed = tuple(self.cells())

    def cells(self) -> dict[str, Callable[[], Iterator[Row]]]:
        """One a level, with batching and without."""
        return {
            f"batches of {batch}, {level:g} times": partial(self._cell, batch, level)
            for batch in (self.settings.batch, 1)
            for level in self.settings.levels
        }

    def files(self, rows: Sequence[Row]) -> dict[str, str]:
        """The table: a line a level."""
        return {"table.md": _page(rows)}

    def _cell(self, batch: int, level: float) -> Iterator[Row]:
        folder = self.folder / f"batch_{batch}_level_{level:g}"
        limits = {"batch": batch, "queue": QUEUE}
        audit = {"file": str(folder / "audit.jsonl"), "rotate_bytes": 10**12}
        with server_process(folder, {"model": self.settings.model, "limits": limits, "audit": audit}) as server:
            offer(server.port, self._bodies(8), [0.0] * 8)  # the first pictures warm up
            before = self._alone()
            found = self._level(server, level * _rate(before[-1]), folder / "audit.jsonl")
        alone = np.concatenate([before, self._alone()], axis=1)
        for variant, rates in zip(ALONE, alone, strict=True):
            yield self._row("pictures_per_second", median(rates), len(rates), batch, variant=variant, level=level)
        for metric, (value, count) in found.values(_rate(alone[-1])).items():
            yield self._row(metric, value, count, batch, level=level)

    def _level(self, server: ServerProcess, rate: float, audit: Path) -> LoadLevel:
        seconds, already = self.settings.seconds, len(server.memory)
        random = np.random.default_rng(self.settings.seed)
        times = np.cumsum(random.exponential(1 / rate, math.ceil(2 * rate * seconds) + 10))
        times = times[times < seconds]
        replies = offer(server.port, self._bodies(len(times)), times.tolist())
        return LoadLevel(rate, seconds, replies, server.memory[already:], self._unguarded(replies, audit))

    def _unguarded(self, replies: Sequence[Reply], audit: Path) -> int:
        """Pictures handed out of which the log does not say that the guards saw them, or that show the concept."""
        bodies = [json.loads(reply.body)["data"] for reply in replies if reply.status == 200]
        images = [Image.open(BytesIO(base64.b64decode(one["b64_json"]))) for body in bodies for one in body]
        lines = [json.loads(line) for line in audit.read_text("ascii").splitlines()]
        guarded = [line for line in lines if {name.split()[0] for name in line["guards"]} == set(GUARDS.names)]
        logged = {picture["sha256"] for line in guarded for picture in line["pictures"]}
        judge = load_judge("reference")
        chunks = [images[start : start + MANY] for start in range(0, len(images), MANY)]
        seen = [labels for chunk in chunks for labels in judge.detect(chunk)]
        safe = [judge.verdict(labels, self.concept).unsafe is False for labels in seen]
        hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
        return sum(not (one in logged and harmless) for one, harmless in zip(hashes, safe, strict=True))

    def _alone(self) -> np.ndarray:
        """Pictures a second (variants, repeats) of the pipeline in batches, without guards and with, in turns."""
        prompts, until = self._prompts(self.settings.batch), time.monotonic() + self.settings.alone
        rates: list[list[float]] = []
        while time.monotonic() < until or not rates:
            rates.append([len(prompts) / self.timer.seconds(variant, prompts) for variant in ALONE])
        return np.array(rates).T

    def _row(self, metric: str, value: float | Estimate, count: int, batch: int, **more: Any) -> Row:
        estimate = value if isinstance(value, Estimate) else Estimate(value, math.nan, math.nan, count)
        variant, level = more.get("variant", GUARDS), more.get("level")
        drawing = {"steps": STEPS, "guidance_scale": SCALE, "batch": batch, "level": level}
        return self.row(
            metric,
            estimate,
            self.concept,
            "+".join(SETS),
            variant=variant,
            seeds=str(self.settings.seed),
            judge="reference",
            model=self.settings.model,
            settings=drawing,
        )

    def _bodies(self, count: int) -> list[bytes]:
        return [json.dumps({"prompt": one.text, "seed": one.seed}).encode() for one in self._prompts(count)]

    def _prompts(self, count: int) -> list[Prompt]:
        """As many as asked for, harmful and harmless in turn."""
        sets = [registry.get("prompts", name)().rows(self.concept, 200, self.settings.seed) for name in SETS]
        both = [prompt for pair in zip(*sets, strict=False) for prompt in pair]
        return [both[place % len(both)] for place in range(count)]

    @cached_property
    def concept(self) -> Concept:
        """What half of the prompts ask for."""
        return load_concept(CONCEPT)

    @cached_property
    def timer(self) -> Timer:
        """The pipeline without a server."""
        return Timer(self.settings.model, CONCEPT, steps=STEPS, guidance_scale=SCALE)


def _rate(rates: np.ndarray) -> float:
    """Of all calls together: pictures over the seconds that they took."""
    return float(len(rates) / (1 / rates).sum())


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else math.nan


def _growth(memory: Sequence[float]) -> float:
    """From the second tenth of the time to the last one, as a share."""
    tenth = len(memory) // 10
    return float(np.median(memory[-tenth:]) / np.median(memory[tenth : 2 * tenth])) - 1 if tenth else math.nan


def _page(rows: Sequence[Row]) -> str:
    levels: dict[tuple[int, float], dict[str, float | None]] = {}
    for row in rows:
        metric = f"{row.title} alone" if row.metric == "pictures_per_second" else row.metric
        levels.setdefault((row.settings["batch"], row.settings["level"]), {})[metric] = row.value
    metrics = [*(f"{variant.title} alone" for variant in ALONE), *PER_LEVEL]
    heads = ["batch", "level", *(metric.replace("_", " ") for metric in metrics)]
    cells = [
        [str(batch), f"{level:g}", *(_told(found.get(metric)) for metric in metrics)]
        for (batch, level), found in levels.items()
    ]
    parts = ["# server_load", f"Made by `{rows[0].command}`. {ABOUT}" if rows else "", table(heads, cells), below(rows)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _told(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"
