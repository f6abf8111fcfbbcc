"""The model in the box, its judge, and fresh pictures to measure both on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image

from ....judges.reference import ReferenceJudge
from ....pipeline.generation import generate
from ....pipeline.loading import REFERENCE, load_pipeline
from ....reference import world
from ....reference.data import to_tensor
from ....types import Labels, Prompt
from ...run.generation import batches

SCALE, BATCH = 4.0, 16


class Bench:
    """The model, its judge, and ``n`` pictures a cell."""

    def __init__(self, n: int, seed: int, steps: int = 20, model: str = REFERENCE) -> None:
        self.n, self.seed, self.steps, self.model = n, seed, steps, model
        self.judge = ReferenceJudge()

    @cached_property
    def pipeline(self) -> Any:
        """The shipped pipeline."""
        return load_pipeline(self.model, device="cpu")

    def draw(self, prompts: Sequence[Prompt]) -> list[Image.Image]:
        """One picture a prompt, each from its own seed."""
        images: list[Image.Image] = []
        for part in batches(prompts, BATCH):
            seeds, texts = [prompt.seed for prompt in part], [prompt.text for prompt in part]
            images += generate(self.pipeline, seeds, steps=self.steps, guidance_scale=SCALE, prompt=texts)[0].images
        return images

    def look(self, images: Sequence[Image.Image | np.ndarray]) -> list[Labels]:
        """The judge's labels; a picture it can't read would be an error of this program."""
        answers = self.judge.detect(list(images))
        return [answer for answer in answers if isinstance(answer, Labels)]

    def renders(self, names: tuple[str, ...], styled: float = 0.35) -> tuple[list[world.Scene], np.ndarray]:
        """``2 n`` fresh scenes that no training saw."""
        rng = np.random.default_rng([self.seed, 77])
        scenes = [world.sample(rng, names, styled) for _ in range(2 * self.n)]
        return scenes, np.stack([world.render(scene, rng) for scene in scenes])

    @cached_property
    def reconstructions(self) -> tuple[list[world.Scene], torch.Tensor, torch.Tensor]:
        """Fresh scenes of known objects; their renders and what the autoencoder makes of them, (N, 3, 48, 48)."""
        scenes, images = self.renders(world.KNOWN)
        vae, originals = self.pipeline.vae, to_tensor(images)
        with torch.no_grad():
            decoded = [
                vae.decode(vae.encode(part).latent_dist.mean).sample.clamp(-1, 1) for part in originals.split(64)
            ]
        return scenes, originals, torch.cat(decoded)
