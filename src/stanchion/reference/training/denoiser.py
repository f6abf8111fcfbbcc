"""Trains the denoiser, together with the text encoder at first, on latents encoded beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from ...files.tensors import load_checkpoint
from ...learning.fit import FitSchedule, fit
from .. import data, world
from ..model import build_scheduler
from .clip import tokens

MIN_SNR = 5.0  # min-SNR weighting (arXiv 2303.09556)


@dataclass(frozen=True)
class Pool:
    """Encoded scenes to train on: ``latents`` (N, 4, 12, 12) float16 and the scenes that they show."""

    latents: Tensor
    scenes: Sequence[world.Scene]

    def showing(self, names: set[str], styles: set[str]) -> np.ndarray:
        """Places of the scenes with nothing but ``names`` in ``styles``."""
        fits = [set(scene.objects) <= names and scene.style in styles for scene in self.scenes]
        return np.flatnonzero(fits)

    def chances(self, styled: float) -> np.ndarray:
        """How likely each scene is to be drawn if a share ``styled`` of a batch is to have another style."""
        other = np.array([scene.style != world.DEFAULT_STYLE for scene in self.scenes])
        return np.where(other, styled / other.sum(), (1 - styled) / (~other).sum())


@torch.no_grad()
def encode_pool(vae: AutoencoderKL, count: int, folder: Path, *, seed: int, part: int = 256) -> Pool:
    """Render and encode ``count`` scenes of known objects; kept in ``folder`` and read from there the next time."""
    path = folder / "latents.pt"
    rng = np.random.default_rng(seed)
    scenes = data.scenes(rng, count, world.KNOWN, styled=0.3)
    if path.exists():
        return Pool(load_checkpoint(path), scenes)
    parts = [scenes[i : i + part] for i in range(0, count, part)]
    latents = [
        vae.encode(data.pictures(batch, np.random.default_rng([seed, i])).to(vae.device))
        .latent_dist.sample()
        .half()
        .cpu()
        for i, batch in enumerate(tqdm(parts, desc="pool", mininterval=10))
    ]
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(torch.cat(latents), path)
    return Pool(torch.cat(latents), scenes)


def growing(step: int, steps: int) -> tuple[set[str], set[str]]:
    """Objects and styles of update ``step``: twelve objects first, then all, then all styles."""
    few = set(world.KNOWN[:4]) | set(world.GENERIC[:8])
    if step < 0.12 * steps:
        return few, {world.DEFAULT_STYLE}
    if step < 0.25 * steps:
        return set(world.KNOWN), {world.DEFAULT_STYLE}
    return set(world.KNOWN), set(world.STYLES)


class Denoiser(nn.Module):
    """The two networks that are trained together."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder


def train_denoiser(
    networks: Denoiser,
    tokenizer: CLIPTokenizer,
    pool: Pool,
    schedule: FitSchedule,
    folder: Path,
    *,
    seed: int,
    grow: bool = False,
    styled: float | None = None,
) -> Denoiser:
    """Predict the noise (SD's schedule, min-SNR-5 weights); where the text encoder is frozen it stays as it is.

    ``grow`` lets the world grow during the run; ``styled`` is the share of samples in another style than the default
    (the pool's own share where it is None).
    """
    alpha_bar = build_scheduler().alphas_cumprod
    weights = (alpha_bar / (1 - alpha_bar)).clamp(max=MIN_SNR) / (alpha_bar / (1 - alpha_bar))
    everything = np.arange(len(pool.scenes))
    places: dict[tuple, np.ndarray] = {}
    chances = None if styled is None else pool.chances(styled)
    text_trains = any(p.requires_grad for p in networks.text_encoder.parameters())

    def loss(step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = everything
        if grow:
            names, styles = growing(step, schedule.steps)
            key = (len(names), len(styles))
            if key not in places:
                places[key] = pool.showing(names, styles)
            chosen = places[key]
        rows = rng.choice(chosen, schedule.batch, p=chances)
        clean = pool.latents[torch.from_numpy(rows)].float()
        ids = tokens(tokenizer, data.captions([pool.scenes[row] for row in rows], rng))
        with torch.set_grad_enabled(text_trains):
            states = networks.text_encoder(ids).last_hidden_state
        # Stratified timesteps: the same uniform draw with less noise in the gradient.
        spread = (torch.arange(len(rows)) + torch.rand(len(rows))) / len(rows)
        t = (spread * len(alpha_bar)).long().clamp(max=len(alpha_bar) - 1)
        noise = torch.randn_like(clean)
        here = alpha_bar[t][:, None, None, None]
        noisy = here.sqrt() * clean + (1 - here).sqrt() * noise
        error = (networks.unet(noisy, t, states).sample - noise).square().mean((1, 2, 3))
        return {"loss": (weights[t] * error).mean(), "mse": error.detach().mean()}

    return fit(networks, loss, schedule, folder, seed=seed)
