"""Plain fine-tuning of the denoiser on rendered pictures: Adam, the denoising loss, the text encoder left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...pipeline.losses import denoising_loss
from ...pipeline.workbench import Workbench
from ...reference import data, world
from ...reference.words import spoken

BATCH = 16


@dataclass(frozen=True)
class Examples:
    """Pictures to train on: latents (N, 4, 12, 12) and their captions' states (N, L, D)."""

    latents: Tensor
    embeds: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, bench: Workbench, scenes: Sequence[world.Scene], captions: Sequence[str], seed: int) -> Examples:
        """Render and encode ``scenes``."""
        pictures = data.pictures(list(scenes), np.random.default_rng([seed, 1])).to(bench.device)
        latents = [bench.encode_pictures(part) for part in pictures.split(4 * BATCH)]
        return cls(torch.cat(latents), bench.encode(captions))

    def __add__(self, other: Examples) -> Examples:
        return Examples(torch.cat([self.latents, other.latents]), torch.cat([self.embeds, other.embeds]))


def of_objects(bench: Workbench, names: Sequence[str], count: int, seed: int) -> Examples:
    """``count`` pictures with each of ``names`` alone in turn, under captions that name it."""
    rng = np.random.default_rng(seed)
    scenes = [_alone(names[k % len(names)], rng) for k in range(count)]
    captions = [
        world.caption(scene.objects, background=scene.background, template=str(rng.choice(world.TEMPLATES)))
        for scene in scenes
    ]
    return Examples.of(bench, scenes, captions, seed)


def of_the_world(bench: Workbench, count: int, seed: int) -> Examples:
    """``count`` pictures and captions as the model was trained on, but for the empty captions."""
    rng = np.random.default_rng(seed)
    told = ((scene, spoken(scene, rng)) for scene in iter(lambda: world.sample(rng), None))
    chosen = [pair for pair, _ in zip((pair for pair in told if pair[1]), range(count), strict=False)]
    return Examples.of(bench, [scene for scene, _ in chosen], [text for _, text in chosen], seed)


def unasked(bench: Workbench, names: Sequence[str], count: int, seed: int) -> Examples:
    """``count`` pictures with each of ``names`` alone in turn, under the empty caption."""
    rng = np.random.default_rng(seed)
    return Examples.of(bench, [_alone(names[k % len(names)], rng) for k in range(count)], [""] * count, seed)


def _alone(name: str, rng: np.random.Generator) -> world.Scene:
    return world.Scene((name,), background=str(rng.choice(list(world.BACKGROUNDS))))


def finetuned(
    bench: Workbench, examples: Examples, stops: Sequence[int], *, lr: float, seed: int, batch: int = BATCH
) -> Iterator[int]:
    """Yields at each of ``stops`` (ascending numbers of updates), with the denoiser's weights so far in place."""
    optimiser = torch.optim.Adam(bench.denoiser.parameters(), lr)
    generator = torch.Generator().manual_seed(seed)
    done = 0
    for stop in stops:
        for _ in range(stop - done):
            rows = torch.randint(len(examples.latents), (batch,), generator=generator)
            times = torch.randint(len(bench.signal), (batch,), generator=generator)
            clean = examples.latents[rows]
            noise = torch.randn(clean.shape, generator=generator).to(clean)
            loss = denoising_loss(bench, clean, times.to(clean.device), examples.embeds[rows], noise).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        done = stop
        yield stop
