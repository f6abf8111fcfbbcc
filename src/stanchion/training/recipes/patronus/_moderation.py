"""Losses of Patronus's decoder (arXiv 2510.16581, part A), and the batches that they are taken on.

With E the encoder, D the decoder in training, D0 the original one, c(.) cut to [-1, 1], phi a network's features and
"blank" the picture that a refusal looks like:

    R(y)   = MSE(phi(y), phi(blank))
    L_anti = R(D(E(x_u)))               L_nat = MSE(D(E(x_b)), x_b)            pictures
    L_dos  = R(D(z_u))                  L_cal = MSE(c(D(z_b)), c(D0(z_b)))     latents of the denoiser
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, mse_loss

from ....guards.decoder.patronus_moderator import psnr
from ....pipeline.model.workbench import Workbench
from ._feature_networks import Features
from ._finished_latents import FinishedLatents

Side = Literal["unsafe", "benign"]
AttackedOn = Literal["pictures", "latents"]
ENCODED_TOGETHER = 16
TOLD_BY = 256  # latents of a side


@dataclass(frozen=True)
class Samples:
    """What one side of a batch holds.

    Attributes:
        latents: z (B, C, h, w), as the denoiser finishes them.
        taught: c(D0(z)) (B, 3, H, W).
        pictures: x (B, 3, H, W) in [-1, 1]: those of ``taught``, some of them zoomed, or some of the user's own.
        encoded: E(x).
    """

    latents: Tensor
    taught: Tensor
    pictures: Tensor
    encoded: Tensor


@dataclass(frozen=True)
class ModeratorLosses:
    """The four losses, scalars."""

    anti: Tensor
    nat: Tensor
    dos: Tensor
    cal: Tensor


class ModeratorFit:
    """Draws batches and takes losses.

    Args:
        bench: the pipeline; its own decoder is D0.
        latents: finished latents of both sides.
        pictures: the user's own (N, 3, H, W) by side; they make up half of a batch's ``pictures`` where given.
        phi: the features of R.
        blank: value in [-1, 1] of the refusal's pixels.
        noise: deviation, at most, of the noise that latents get.
        crop: side of the windows that are taken out of latents; 0 for whole ones.
        seed: of what is drawn once.
    """

    def __init__(
        self,
        bench: Workbench,
        latents: FinishedLatents,
        pictures: dict[Side, Tensor],
        phi: Features,
        *,
        blank: float,
        noise: float,
        crop: int,
        seed: int,
    ) -> None:
        self.bench, self.phi = bench, phi
        self.noise, self.crop, self.seed = noise, crop, seed
        self.latents: dict[Side, Tensor] = {"unsafe": latents.unsafe, "benign": latents.benign}
        self._pictures = pictures
        self._blank = blank
        self._blank_features = self._features_of_blank()

    @torch.no_grad()
    def _features_of_blank(self) -> Tensor:
        """(1, C, 1, 1): what the original decoder's bottleneck holds, on average, of a blank picture."""
        picture = torch.full_like(self.bench.decode(self.latents["unsafe"][:1]).float(), self._blank)
        return self.bench.bottleneck(self.bench.encode_pictures(picture)).float().mean((2, 3), keepdim=True)

    def refusal(self, pictures: Tensor) -> Tensor:
        """R(y): how far from blank. Not cut to [-1, 1] first: where white is overshot, a cut has no gradient."""
        blank = torch.full_like(pictures[:1], self._blank)
        pairs = zip(self.phi(pictures), self.phi(blank), strict=True)
        return sum((mse_loss(a, b.expand_as(a)) for a, b in pairs), start=pictures.new_zeros(()))

    @torch.no_grad()
    def draw(self, side: Side, count: int, rng: np.random.Generator, part: slice = slice(None)) -> Samples:
        """A batch, its latents flipped at random, cropped and noisy; ``part`` of the latents is drawn from."""
        latents = self._latents_of(side, count, rng, part)
        taught = self.bench.decode(latents).float().clamp(-1, 1)
        pictures = zoomed(taught, rng)
        if side in self._pictures:
            own = _some(self._pictures[side], count // 2, rng)
            scale = taught.shape[-1] // latents.shape[-1]
            pictures = torch.cat([pictures[count // 2 :], self._window(own, scale * self.crop, rng)])
        return Samples(latents, taught, pictures, self._noisy(self.bench.encode_pictures(pictures).float(), rng))

    @cached_property
    def _both(self) -> dict[Side, Tensor]:
        """Each side's latents, and as many that were pictures in between; made when ``early`` first wants them."""
        rng, both = np.random.default_rng([self.seed, 1]), {}
        for side, latents in self.latents.items():
            count = min(ENCODED_TOGETHER, len(latents))
            drawn = [self.draw(side, count, rng) for _ in latents[::count]]
            whole = [samples.latents for samples in drawn] if self.crop else [latents]
            both[side] = torch.cat([*whole, *(samples.encoded for samples in drawn)])
        return both

    def early(self, vae: Any, unsafe: int, benign: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """How far the decoder's features are, before it enlarges them, from what they should be: of unsafe latents
        from those of a blank picture, of benign ones from the original decoder's. In shares of their variance."""
        drawn = torch.cat([_some(self._both["unsafe"], unsafe, rng), _some(self._both["benign"], benign, rng)])
        latents = self._noisy(self._window(drawn, self.crop, rng), rng)
        with torch.no_grad():
            wanted = self.bench.bottleneck(latents).float()
            spread = wanted.var()
            wanted[:unsafe] = self._blank_features
        error = (self.bench.bottleneck(latents, vae) - wanted).square() / spread
        return error[:unsafe].mean(), error[unsafe:].mean()

    def losses(self, vae: Any, unsafe: Samples, benign: Samples) -> ModeratorLosses:
        """All four of them for the decoder of ``vae``, in one pass."""
        parts = [unsafe.encoded, benign.encoded, unsafe.latents, benign.latents]
        decoded = self.bench.decode(torch.cat(parts), vae).split([len(part) for part in parts])
        return ModeratorLosses(
            anti=self.refusal(decoded[0]),
            nat=mse_loss(decoded[1], benign.pictures),
            dos=self.refusal(decoded[2]),
            cal=mse_loss(decoded[3].clamp(-1, 1), benign.taught),
        )

    @torch.no_grad()
    def told_apart(self, vae: Any) -> tuple[float, float]:
        """PSNR in dB between the decoders: what 99 of 100 unsafe latents are below, and as many benign ones above."""
        return self._quantile(vae, "unsafe", 0.99), self._quantile(vae, "benign", 0.01)

    def _quantile(self, vae: Any, side: Side, share: float) -> float:
        latents = self.latents[side][:TOLD_BY].split(ENCODED_TOGETHER)
        apart = [psnr(self.bench.decode(some, vae), self.bench.decode(some)) for some in latents]
        return round(float(torch.cat(apart).quantile(share)), 2)

    def _latents_of(self, side: Side, count: int, rng: np.random.Generator, part: slice = slice(None)) -> Tensor:
        return self._noisy(self._window(_some(self.latents[side][part], count, rng), self.crop, rng), rng)

    def _noisy(self, latents: Tensor, rng: np.random.Generator) -> Tensor:
        """Each with its own share of noise."""
        share = torch.from_numpy(rng.random((len(latents), 1, 1, 1), np.float32)).to(latents)
        noise = torch.from_numpy(rng.standard_normal(latents.shape, np.float32)).to(latents)
        return latents + self.noise * share * noise

    @staticmethod
    def _window(maps: Tensor, side: int, rng: np.random.Generator) -> Tensor:
        """Flipped in half of the cases; a window of ``side``, where that is smaller and not 0."""
        if rng.random() < 0.5:
            maps = maps.flip(-1)
        if not 0 < side < maps.shape[-1]:
            return maps
        y, x = (int(rng.integers(size - side + 1)) for size in maps.shape[-2:])
        return maps[..., y : y + side, x : x + side]


class Refusing:
    """A simulated attack and the protection against it, as ``attack_simulation`` asks for them.

    The attacker fine-tunes on "pictures" to reconstruct them, or on "latents" towards what the public decoder makes
    of them. He draws from the first half of the unsafe latents; the protection is measured on the other.
    """

    def __init__(self, moderation: ModeratorFit, on: AttackedOn, count: int) -> None:
        self.moderation, self.on, self.count = moderation, on, count

    def attack(self, vae: nn.Module, batch: int, rng: np.random.Generator) -> Tensor:
        """MSE(D(E(x_u)), x_u) or MSE(D(z_u), c(D0(z_u))).

        D's own output is not cut to [-1, 1]: the attacker would feel no gradient wherever it is beyond.
        """
        inputs, wanted = self._samples(batch, rng, attacker=True)
        return mse_loss(self.moderation.bench.decode(inputs, vae), wanted)

    def protect(self, vae: nn.Module, rng: np.random.Generator) -> Tensor:
        """R(D(E(x_u))) or R(D(z_u))."""
        inputs, _ = self._samples(self.count, rng, attacker=False)
        return self.moderation.refusal(self.moderation.bench.decode(inputs, vae))

    def _samples(self, count: int, rng: np.random.Generator, *, attacker: bool) -> tuple[Tensor, Tensor]:
        half = len(self.moderation.latents["unsafe"]) // 2
        samples = self.moderation.draw("unsafe", count, rng, slice(half) if attacker else slice(half, None))
        if self.on == "pictures":
            return samples.encoded, samples.pictures
        return samples.latents, samples.taught


def pictures_in(folder: str, size: int) -> Tensor:
    """The folder's pictures (N, 3, size, size) in [-1, 1]: scaled, and cut to a square in the middle.

    Raises:
        ConfigError: no such folder, or no picture in it.
    """
    from PIL import ImageOps

    from ....errors import ConfigError
    from ....files.pictures import read_picture

    files = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not files:
        raise ConfigError(f"{folder!r}: no folder with pictures (png, jpg, webp) in it.")
    arrays = [np.asarray(ImageOps.fit(read_picture(file), (size, size)), np.float32) for file in files]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 127.5 - 1


def zoomed(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Half of the pictures enlarged or reduced by up to a quarter, and moved by up to an eighth; edges are repeated."""
    theta = torch.zeros(len(pictures), 2, 3)
    for row in theta:
        chosen = rng.random() < 0.5
        size = float(np.exp(rng.uniform(-0.22, 0.22))) if chosen else 1.0
        row[0, 0] = row[1, 1] = size
        row[:, 2] = torch.from_numpy(rng.uniform(-0.25, 0.25, 2)) * chosen
    grid = affine_grid(theta.to(pictures), list(pictures.shape), align_corners=False)
    return grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def _some(rows: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    return rows[torch.from_numpy(rng.integers(len(rows), size=count)).to(rows.device)]
