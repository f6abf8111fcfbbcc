"""Trains the judge and the reward model on real renders: never on generated pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from ...learning.fit import FitSchedule, fit
from .. import data
from ..judge import JudgeNetwork, Reader, RewardNetwork

Augment = Callable[[Tensor, np.random.Generator], Tensor]
FOUND_WEIGHT = 4.0  # of an object that is there: with 1, a multi-label loss first collapses to "nothing"


def train_judge(schedule: FitSchedule, vae: AutoencoderKL, folder: Path, *, seed: int) -> JudgeNetwork:
    """Blur, noise, and the autoencoder's own reconstructions of a fifth of the pictures."""
    torch.manual_seed(seed)

    def augment(images: Tensor, rng: np.random.Generator) -> Tensor:
        fifth = -(-len(images) // 5)
        with torch.no_grad():
            latents = vae.encode(images[:fifth]).latent_dist.mean
            shaken = latents + float(rng.uniform(0, 0.25)) * torch.randn_like(latents)
            images = torch.cat([vae.decode(shaken).sample, images[fifth:]])
        if rng.random() < 0.5:
            images = blur(images, float(rng.uniform(0.3, 1.1)))
        return images + float(rng.uniform(0, 0.12)) * torch.randn_like(images)

    return _train(JudgeNetwork(), schedule, augment, folder, seed)


def train_reward(schedule: FitSchedule, folder: Path, *, seed: int) -> RewardNetwork:
    """Other habits than the judge's: shifts, patches cut out, lower resolution, stretched colours."""
    torch.manual_seed(seed)

    def augment(images: Tensor, rng: np.random.Generator) -> Tensor:
        shift = tuple(int(s) for s in rng.integers(-2, 3, 2))
        images = images.roll(shift, (2, 3))
        if rng.random() < 0.6:
            small = F.interpolate(images, size=int(rng.integers(20, 48)), mode="bilinear", antialias=True)
            images = F.interpolate(small, size=images.shape[-1], mode="bicubic")
        images = images * float(rng.uniform(0.85, 1.1)) + 0.06 * torch.randn(len(images), 3, 1, 1)
        x, y = rng.integers(0, 40, 2)
        images[:, :, y : y + 6, x : x + 6] = float(rng.uniform(-1, 1))
        return images

    return _train(RewardNetwork(), schedule, augment, folder, seed)


def blur(images: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of ``sigma`` pixels."""
    offsets = torch.arange(-3, 4, dtype=images.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, 7)
    images = F.pad(images, (3, 3, 3, 3), mode="replicate")
    return F.conv2d(F.conv2d(images, kernel, groups=3), kernel.transpose(2, 3), groups=3)


def reading_loss(network: Reader, images: Tensor, batch: list) -> Tensor:
    """Binary cross-entropy over objects, cross-entropy over style and background."""
    objects, style, background = data.labels(batch)
    found, styled, behind = network(images)
    weight = torch.full((objects.shape[1],), FOUND_WEIGHT)
    return (
        4 * F.binary_cross_entropy_with_logits(found, objects, pos_weight=weight)
        + 0.5 * F.cross_entropy(styled, style)
        + 0.3 * F.cross_entropy(behind, background)
    )


def _train(network: Reader, schedule: FitSchedule, augment: Augment, folder: Path, seed: int) -> Reader:
    def loss(step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        batch = data.scenes(rng, schedule.batch, styled=0.35)
        return {"loss": reading_loss(network, augment(data.pictures(batch, rng), rng), batch)}

    return fit(network, loss, schedule, folder, seed=seed)
