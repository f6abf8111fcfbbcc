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
    training = _Training(model, schedule, beside)
    start, saved = training.resume(folder), time.monotonic()
    progress = tqdm(
        range(start, schedule.steps),
        initial=start,
        total=schedule.steps,
        desc=folder.name,
        mininterval=10,
        disable=not workers.first,
    )
    for step in progress:
        _seed((seed * 1_000_003 + step) % 2**63)
        parts = loss(step, np.random.default_rng([seed, step]))
        training.update(step, parts["loss"], workers)
        if workers.first and step % 50 == 0:
            _log(folder, step, parts)
            progress.set_postfix({name: f"{value.item():.4f}" for name, value in parts.items()})
        if workers.first and time.monotonic() - saved > save_every:
            training.save(folder, step + 1)
            saved = time.monotonic()
    if workers.first:
        training.save(folder, schedule.steps)
    return training.finished()


class _Training:
    """What a checkpoint holds: a model, its optimiser, the running average of its weights, and what a loss keeps."""

    def __init__(self, model: nn.Module, schedule: FitSchedule, beside: Stateful | None) -> None:
        self.model, self.schedule, self.beside = model, schedule, beside
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.trained, schedule.lr, weight_decay=schedule.weight_decay, fused=True)
        self.average = [p.detach().clone() for p in self.trained]

    def update(self, step: int, loss: Tensor, workers: Workers) -> None:
        """One step of AdamW on all workers' gradients, and of the average."""
        self.optimiser.param_groups[0]["lr"] = self.schedule.rate(step)
        loss.backward()
        workers.add_gradients(self.trained)
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        kept = min(self.schedule.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.trained], 1 - kept)

    def finished(self) -> nn.Module:
        """The model with its averaged weights."""
        with torch.no_grad():
            for weight, mean in zip(self.trained, self.average, strict=True):
                weight.copy_(mean)
        return self.model.eval()

    def save(self, folder: Path, step: int) -> None:
        """The checkpoint, whole or not at all."""
        state = {"step": step, "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        state |= {"average": self.average}
        if self.beside is not None:
            state["beside"] = self.beside.state_dict()
        part = folder / "checkpoint.part"
        torch.save(state, part)
        part.replace(folder / "checkpoint.pt")

    def resume(self, folder: Path) -> int:
        """Go on from the folder's checkpoint; the first step that is not done."""
        path = folder / "checkpoint.pt"
        if not path.exists():
            return 0
        state = load_checkpoint(path)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        for mean, stored in zip(self.average, state["average"], strict=True):
            mean.copy_(stored)
        if self.beside is not None:
            self.beside.load_state_dict(state["beside"])
        return int(state["step"])


def _seed(seed: int) -> None:
    """``torch.manual_seed`` without the stack traces that it formats for a GPU that isn't there."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def _log(folder: Path, step: int, parts: dict[str, Tensor]) -> None:
    values = {name: round(value.item(), 6) for name, value in parts.items()}
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": step, "time": round(time.time()), **values}) + "\n")
