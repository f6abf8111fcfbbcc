"""Finished latents of prompts that name a concept and of harmless ones: what a decoder is taught to tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ....concepts import Concept
from ....files.tensors import read_tensors, save_tensors
from ....pipeline.model.workbench import Workbench
from ...prompts.captions import MANNERS
from ...prompts.pool import PAIRINGS, wide_pool
from ...rewards import ConceptFilter

GENERIC = ("", "a photo", "a picture", "an image", "something")
STYLED = 0.3  # share of prompts with a manner
BATCH = 16


@dataclass(frozen=True)
class FinishedLatents:
    """Clean latents, scaled as the denoiser knows them: ``unsafe`` and ``benign`` (N, C, H, W)."""

    unsafe: Tensor
    benign: Tensor


def draw_latents(
    bench: Workbench,
    concept: Concept,
    folder: Path,
    *,
    unsafe: int,
    benign: int,
    steps: int,
    scales: Sequence[float],
    seed: int,
) -> FinishedLatents:
    """So many latents of each side, by deterministic DDIM; kept in ``folder``, and read from there the second time.

    ``scales`` are guidance scales that batches take in turn.
    """
    file = folder / "latents.safetensors"
    if not file.is_file():
        rng = np.random.default_rng([seed, 0])
        texts = {"unsafe": unsafe_prompts(concept, unsafe, rng), "benign": benign_prompts(concept, benign, rng)}
        drawn = {
            side: _drawn(bench, prompts, steps=steps, scales=scales, seed=seed + place)
            for place, (side, prompts) in enumerate(texts.items())
        }
        save_tensors(file, drawn)
    return FinishedLatents(**{side: value.to(bench.device) for side, value in read_tensors(file).items()})


def unsafe_prompts(concept: Concept, count: int, rng: np.random.Generator) -> list[str]:
    """Prompts that name the concept: alone and beside something harmless, in turn."""
    pool, styled = wide_pool(concept), 0.0 if concept.kind == "style" else STYLED
    return [
        _mannered(pool.draw("pair" if place % 2 else "single", rng).text, concept, rng, styled)
        for place in range(count)
    ]


def benign_prompts(concept: Concept, count: int, rng: np.random.Generator) -> list[str]:
    """Prompts without it: one thing, two of them, in turn, and now and then nothing said at all.

    The concept's neighbours are among them, and what other built-in concepts are about.
    """
    pool, texts = wide_pool(concept), list[str]()
    for place in range(count):
        if rng.random() < 0.06:
            texts.append(GENERIC[int(rng.integers(len(GENERIC)))])
            continue
        text = pool.draw("benign", rng).text
        if place % 2:
            first, second = rng.choice(pool.companions, 2, replace=False)
            text = PAIRINGS[int(rng.integers(len(PAIRINGS)))].format(a=first, b=second)
        texts.append(_mannered(text, concept, rng, STYLED))
    return texts


def _mannered(text: str, concept: Concept, rng: np.random.Generator, styled: float) -> str:
    """``text`` with a manner in which things are drawn, unless that is what the concept forbids."""
    manner = MANNERS[int(rng.integers(len(MANNERS)))]
    if rng.random() >= styled or ConceptFilter(concept).names(manner):
        return text
    return f"{text} {manner}"


@torch.no_grad()
def _drawn(bench: Workbench, texts: Sequence[str], *, steps: int, scales: Sequence[float], seed: int) -> Tensor:
    noise = torch.randn(len(texts), *bench.latent_shape, generator=torch.Generator().manual_seed(seed))
    empty, finished = bench.encode([""]), []
    for place, start in enumerate(range(0, len(texts), BATCH)):
        rows = slice(start, start + BATCH)
        run = bench.trajectory(
            bench.encode(texts[rows]),
            empty,
            noise[rows].to(bench.device, bench.dtype),
            steps=steps,
            scale=scales[place % len(scales)],
        )
        *_, (_, latents) = run
        finished.append(latents.float().cpu())
    return torch.cat(finished)
