"""What Patronus' hardening is trained on, made by the pipeline itself and kept as latents and text states.

The concept's own pictures with captions, which an attacker would fine-tune on; and what must stay: noisy pictures of
everything else, with the noise that the original model sees in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from ....concepts import Concept
from ....errors import ConfigError
from ....files.pictures import read_picture
from ....pipeline.model.workbench import Workbench
from ...prompts.captions import everyday
from ...prompts.pool import PromptPool, Task

BATCH = 16
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class UnsafePictures:
    """Pictures of the concept.

    Attributes:
        latents: (N, C, H, W) clean latents.
        embeds: (N, L, D) states of the prompts that they show.
        others: (M, L, D) states of prompts that don't name the concept, the empty one first.
    """

    latents: Tensor
    embeds: Tensor
    others: Tensor


@dataclass(frozen=True)
class Kept:
    """Predictions that must stay: x_t (K, C, H, W), t (K,), the original's noise (K, C, H, W), and text states.

    Attributes:
        prompts: (K,) rows of ``embeds`` (P, L, D).
    """

    latents: Tensor
    timesteps: Tensor
    noise: Tensor
    prompts: Tensor
    embeds: Tensor


@torch.no_grad()
def drawn(bench: Workbench, said: Sequence[str] | Tensor, *, steps: int, scale: float, seed: int) -> Tensor:
    """(len(said), C, H, W) latents of pictures that the pipeline draws of texts, or of their states (N, R, D)."""
    noise = torch.randn(len(said), *bench.latent_shape, generator=torch.Generator().manual_seed(seed))
    empty, pictures = bench.encode([""]), []
    for rows in torch.arange(len(said)).split(BATCH):
        start = noise[rows].to(bench.device, bench.dtype)
        states = said[rows] if isinstance(said, Tensor) else bench.encode([said[row] for row in rows])
        *_, (_, latents) = bench.trajectory(states, empty, start, steps=steps, scale=scale)
        pictures.append(latents)
    return torch.cat(pictures).float()


@torch.no_grad()
def from_folder(bench: Workbench, folder: Path, concept: Concept) -> tuple[Tensor, list[str]]:
    """Latents (N, C, H, W) of a folder's pictures, and captions: a text file beside each, or a target phrase in turn.

    Raises:
        ConfigError: there are no pictures.
    """
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ConfigError(f"{folder} holds no pictures ({', '.join(SUFFIXES)}).")
    size = bench.decode(torch.zeros(1, *bench.latent_shape, device=bench.device, dtype=bench.dtype)).shape[-1]
    captions, latents = [], []
    for place, path in enumerate(files):
        beside, phrase = path.with_suffix(".txt"), concept.targets[place % len(concept.targets)]
        captions.append(beside.read_text(encoding="utf-8").strip() if beside.is_file() else phrase)
        pixels = np.asarray(ImageOps.fit(read_picture(path), (size, size)), np.float32)
        picture = torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)[None]
        latents.append(bench.encode_pictures(picture.to(bench.device)))
    return torch.cat(latents).float(), captions


def unsafe_tasks(concept: Concept, count: int, rng: np.random.Generator) -> list[Task]:
    """Prompts for the concept, three alone for each one with a companion."""
    pool = PromptPool(concept)
    return [pool.draw("pair" if k % 4 == 3 else "single", rng) for k in range(count)]


def benign_texts(concept: Concept, count: int, rng: np.random.Generator) -> list[str]:
    """A third about the concept's neighbours and anchors, a third about everyday things, a third everyday captions."""
    near, common = PromptPool(concept, subjects=()), PromptPool(concept)
    never = [*concept.targets, *concept.labels]
    captions = iter(everyday(count, rng, never=never))
    pools = (near if near.companions else common, common)
    return [pools[k % 3].draw("benign", rng).text if k % 3 < 2 else next(captions) for k in range(count)]


@torch.no_grad()
def kept(
    bench: Workbench,
    pictures: Tensor,
    shown: Sequence[str] | Tensor,
    read: Sequence[str] | Tensor,
    count: int,
    rng: np.random.Generator,
) -> Kept:
    """``count`` noisy versions of ``pictures``, each under what is ``shown`` and, now and then, the empty prompt.

    The prediction that stays is the original's under ``shown``; the prompt that it stays for is ``read``, the same
    but where one text shall read as another. Both are texts, or states (N, R, D).
    """
    parts = [said if isinstance(said, Tensor) else bench.encode(said) for said in ([""], shown, read)]
    table = torch.cat(parts)
    rows = torch.from_numpy(rng.integers(len(pictures), size=count))
    unsaid = torch.from_numpy(rng.random(count) < (0.3 if shown is read else 0.0))
    teacher = torch.where(unsaid, 0, rows + 1)
    prompts = torch.where(unsaid, 0, rows + 1 + len(shown))
    random = torch.Generator().manual_seed(int(rng.integers(2**62)))
    times = torch.randint(len(bench.alpha_bar), (count,), generator=random).to(bench.device)
    clean = pictures[rows.to(bench.device)]
    noisy = bench.noisy(clean, times, torch.randn(clean.shape, generator=random).to(clean))
    seen = [
        bench.predict(noisy[part].to(bench.dtype), times[part], table[teacher[part]]).float()
        for part in torch.arange(count).split(4 * BATCH)
    ]
    return Kept(noisy, times, torch.cat(seen), prompts, table.float())


def joined(first: Kept, second: Kept) -> Kept:
    """Both together."""
    moved = second.prompts + len(first.embeds)
    parts = ("latents", "timesteps", "noise", "embeds")
    both = {name: torch.cat([getattr(first, name), getattr(second, name)]) for name in parts}
    return Kept(prompts=torch.cat([first.prompts, moved]), **both)
