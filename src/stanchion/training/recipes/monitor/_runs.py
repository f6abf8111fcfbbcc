"""Runs of a pipeline as a monitor sees them: the picture that each step predicts, and how noisy x_t is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor
from tqdm import tqdm

from ....concepts import Concept
from ....files.tensors import read_tensors, save_tensors
from ....guards.base import Guard, MonitorGuard
from ....guards.stack import GuardStack
from ....pipeline.families import family_of
from ....pipeline.generation import generate
from ....pipeline.noise.exploring_scheduler import exploring
from ....types import Flagged, Guided, Step


@dataclass(frozen=True)
class Runs:
    """What was seen in N pictures of T steps: ``seen`` (N, T, C, H, W), ``levels`` (T,) shares of signal."""

    seen: Tensor
    levels: Tensor

    @property
    def finished(self) -> Tensor:
        """(N, C, H, W): as the last step has them."""
        return self.seen[:, -1].float()

    def __getitem__(self, rows: slice | Tensor) -> Runs:
        return Runs(self.seen[rows], self.levels)


class Recorder(MonitorGuard):
    """Looks, remembers, and does nothing."""

    name = "recorder"

    def __init__(self, concept: Concept) -> None:
        super().__init__(concept)
        self.seen: list[Tensor] = []
        self.levels: list[float] = []

    def look(self, step: Step, clean: Tensor, state: Any) -> Flagged:
        self.seen.append(clean.detach().half().cpu())
        self.levels.append(step.alpha_bar)
        nothing = torch.zeros(len(clean), device=clean.device)
        return Flagged(nothing.bool(), nothing)

    def settle(self, step: Step, flagged: Flagged, state: Any) -> Flagged:
        return flagged

    def answer(self, step: Step, guided: Guided, flagged: Flagged, state: Any) -> Guided:
        return Guided(guided.noise, guided.latents, flagged.acted)


def draw_runs(
    pipe: Any,
    concept: Concept,
    file: Path,
    sent: Sequence[str] | Tensor,
    *,
    steps: int,
    scale: float,
    seed: int,
    more: Mapping[str, Any] = MappingProxyType({}),
    at_once: int = 16,
    guards: Sequence[Guard] = (),
    watching: Sequence[Guard] = (),
    begun: int = 0,
) -> Runs:
    """A run of each prompt, or of each text in (N, R, D) rows of a ``Workbench``, under ``guards``.

    It is read from ``file`` the second time. The pictures' seeds follow ``seed``; ``more`` are arguments of the
    pipeline's call. What ``watching`` would change is seen as it was before. Without any guard the pipeline takes the
    first ``begun`` steps, which are not seen.
    """
    if not file.is_file():
        parts, family = list[Tensor](), cast(Any, family_of(pipe))
        for start in tqdm(range(0, len(sent), at_once), desc=file.stem, mininterval=10):
            some, recorder = sent[start : start + at_once], Recorder(replace(concept, name="whatever is drawn"))
            states = isinstance(some, Tensor)
            said = family.given(family.unpacked(some)) if states else {"prompt": list(some)}
            how = {"steps": steps, "guidance_scale": scale, "output_type": "latent", **more, **said}
            seeds = range(seed + start, seed + start + len(some))
            with torch.no_grad():
                if begun:
                    with exploring(pipe, window=slice(begun)):
                        how["latents"] = family.resumed(pipe, generate(pipe, seeds, **how)[0].images)
                rest = exploring(pipe, window=slice(begun, None)) if begun else nullcontext()
                with GuardStack(*guards, recorder, *watching).attach(pipe), rest:
                    generate(pipe, seeds, **how)
            parts.append(torch.stack(recorder.seen, 1))
        save_tensors(file, {"seen": torch.cat(parts), "levels": torch.tensor(recorder.levels)})
    return Runs(**read_tensors(file))
