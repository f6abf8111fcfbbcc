"""The one training loop: AdamW, warm-up and cosine, averaged weights, checkpoints that resume to the same result."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..files.tensors import load_checkpoint
from .workers import ALONE, Workers

Loss = Callable[[int, np.random.Generator], dict[str, Tensor]]


class Stateful(Protocol):
    """Something that a loss keeps from one step to the next."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


@dataclass(frozen=True)
class FitSchedule:
    """How long and how fast: ``steps`` updates of ``batch`` samples, learning rate ``lr`` falling on a cosine."""

    steps: int
    batch: int
    lr: float
    warmup: int = 100
    decay: float = 0.999  # of the weights' running average; 0 keeps the last weights
    weight_decay: float = 0.01

    def rate(self, step: int) -> float:
        """The learning rate of update ``step``."""
        rising = min(1.0, (step + 1) / self.warmup)
        return self.lr * rising * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / self.steps)))


def fit(
    model: nn.Module,
    loss: Loss,
    schedule: FitSchedule,
    folder: Path,
    *,
    seed: int,
    save_every: float = 90,
    workers: Workers = ALONE,
    beside: Stateful | None = None,
) -> nn.Module:
    """Train ``model`` in place and return it with its averaged weights.

    ``loss(step, rng)`` gives named losses; the one called "loss" is minimised. All randomness of a step comes from
    ``(seed, step)``, so a run that was cut off goes on from ``folder``'s checkpoint as if it had not been. With several
    ``workers`` each gives the loss of its own rows, divided by the whole batch. What ``beside`` holds is kept in the
    checkpoint too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, schedule.lr, weight_decay=schedule.weight_decay, fused=True)
    average = [p.detach().clone() for p in trained]
    start = _resume(folder, model, optimiser, average, beside)
    saved = time.monotonic()
    progress = tqdm(
        range(start, schedule.steps),
        initial=start,
        total=schedule.steps,
        desc=folder.name,
        mininterval=10,
        disable=not workers.first,
    )
    for step in progress:
        torch.manual_seed((seed * 1_000_003 + step) % 2**63)
        optimiser.param_groups[0]["lr"] = schedule.rate(step)
        parts = loss(step, np.random.default_rng([seed, step]))
        parts["loss"].backward()
        workers.add_gradients(trained)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        torch._foreach_lerp_(average, [p.detach() for p in trained], 1 - min(schedule.decay, (step + 1) / (step + 10)))
        if workers.first and step % 50 == 0:
            _log(folder, step, parts)
            progress.set_postfix({name: f"{value.item():.4f}" for name, value in parts.items()})
        if workers.first and time.monotonic() - saved > save_every:
            _save(folder, step + 1, model, optimiser, average, beside)
            saved = time.monotonic()
    if workers.first:
        _save(folder, schedule.steps, model, optimiser, average, beside)
    with torch.no_grad():
        for weight, mean in zip(trained, average, strict=True):
            weight.copy_(mean)
    return model.eval()


def _log(folder: Path, step: int, parts: dict[str, Tensor]) -> None:
    values = {name: round(value.item(), 6) for name, value in parts.items()}
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": step, "time": round(time.time()), **values}) + "\n")


def _save(
    folder: Path,
    step: int,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: list[Tensor],
    beside: Stateful | None,
) -> None:
    state = {"step": step, "model": model.state_dict(), "optimiser": optimiser.state_dict(), "average": average}
    if beside is not None:
        state["beside"] = beside.state_dict()
    part = folder / "checkpoint.part"
    torch.save(state, part)
    part.replace(folder / "checkpoint.pt")


def _resume(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, average: list[Tensor], beside: Stateful | None
) -> int:
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0
    state = load_checkpoint(path)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    for mean, stored in zip(average, state["average"], strict=True):
        mean.copy_(stored)
    if beside is not None:
        beside.load_state_dict(state["beside"])
    return int(state["step"])
