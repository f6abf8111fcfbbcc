"""Trains the autoencoder, and gives its latents zero mean and unit deviation without changing what it decodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ...learning.fit import FitSchedule, fit
from .. import data
from ..model import build_vae

KL_WEIGHT = 2e-4
EDGE_WEIGHT = 0.5


def reconstruction_loss(drawn: Tensor, wanted: Tensor) -> Tensor:
    """Absolute and squared error, and the absolute error of neighbouring differences, which keeps edges."""
    error = drawn - wanted
    edges = sum((error.diff(dim=dim).abs().mean() for dim in (2, 3)), start=error.new_zeros(()))
    return error.abs().mean() + 2 * error.square().mean() + EDGE_WEIGHT * edges


def train_autoencoder(joint: FitSchedule, decoder_only: FitSchedule, folder: Path, *, seed: int) -> AutoencoderKL:
    """Encoder and decoder together, then the latents normalised, then the decoder alone."""
    torch.manual_seed(seed)
    vae = build_vae()
    nn.init.zeros_(vae.quant_conv.weight[4:])
    nn.init.constant_(vae.quant_conv.bias[4:], -6.0)
    vae = vae.to(memory_format=torch.channels_last)

    def loss(schedule: FitSchedule, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        images = data.pictures(data.scenes(rng, schedule.batch), rng).contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(images).latent_dist
        drawn = vae.decode(posterior.sample()).sample
        reconstruction = reconstruction_loss(drawn, images)
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        psnr = -10 * ((drawn.detach() - images) / 2).square().mean((1, 2, 3)).log10().mean()
        return {"loss": reconstruction + KL_WEIGHT * kl, "kl": kl.detach(), "psnr": psnr}

    fit(vae, lambda step, rng: loss(joint, step, rng), joint, folder / "joint", seed=seed)
    normalise(vae, data.pictures(data.scenes(np.random.default_rng(seed), 2048), np.random.default_rng(seed)))
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    fit(vae, lambda step, rng: loss(decoder_only, step, rng), decoder_only, folder / "decoder", seed=seed + 1)
    vae.requires_grad_(True)
    return vae


@torch.no_grad()
def normalise(vae: AutoencoderKL, images: Tensor) -> None:
    """Fold each latent channel's mean and deviation into ``quant_conv`` and, inversely, ``post_quant_conv``."""
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in images.split(64)])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    count = len(mean)
    vae.quant_conv.weight[:count] /= deviation[:, None, None, None]
    vae.quant_conv.bias[:count] = (vae.quant_conv.bias[:count] - mean) / deviation
    vae.quant_conv.bias[count:] -= 2 * deviation.log()
    vae.post_quant_conv.bias += (vae.post_quant_conv.weight[:, :, 0, 0] * mean).sum(1)
    vae.post_quant_conv.weight *= deviation[:, None, None]
