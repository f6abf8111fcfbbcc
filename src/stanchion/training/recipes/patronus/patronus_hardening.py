"""Patronus' hardening: the denoiser unlearns the concept (B1), then learns to stay so under fine-tuning (B2).

    L = alpha L_benign + beta L_unsafe

L_benign holds the original's own predictions on everything else. L_unsafe pulls what is predicted for the concept to
nothing; in B2 it is taken at the weights of simulated attackers who fine-tune on the concept's pictures
(``attack_simulation``), and only its gradient reaches the weights that are trained.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ....config import Count, Natural, NotNegative, Positive, Share, checked
from ....errors import ConfigError, UnsupportedPipeline
from ....files.tensors import save_tensors
from ....guards.base import Guard
from ....guards.loading import stack_of
from ....guards.weights.patronus_hardening import PatronusHardening
from ....learning.fit import FitSchedule, fit
from ....learning.low_rank import LowRank
from ....learning.simulated_attack import Attackers, PersistentAttack
from ....learning.workers import ALONE, Workers
from ....pipeline.model.base_weights import base_of
from ....pipeline.model.workbench import Workbench
from ...prompts.pool import PromptPool
from ...recipe import Recipe, Run
from ...steered_states import steered_states
from ._hardening_data import Kept, UnsafePictures, benign_texts, drawn, from_folder, joined, kept, unsafe_tasks

MAX_SNR = 5.0
LORA_FILE = "pytorch_lora_weights.safetensors"  # as diffusers names it
Weights = tuple[NotNegative, Positive]


@checked
@dataclass(frozen=True)
class HardeningTraining:
    """What is trained, against whom, on what, and for how long.

    Attributes:
        target: what is predicted for the concept: "zero", no noise (in a flow no velocity) at all; "black_latent", what
            leads to a black picture; "anchor": its prompts are read as an anchor's, and its pictures, under any prompt,
            give zero.
        trainable: "whole", every weight of the denoiser; "lora", low-rank updates of its attention, of ``rank``
            (extra `train`).
        align_steps, align_lr, align_weights: B1: updates, learning rate (it falls on a cosine), (alpha, beta).
        harden_steps, harden_lr, harden_weights: B2.
        batch, unsafe_batch: samples of L_benign and L_unsafe an update.
        attackers: who is simulated; ``attackers.steps`` is how long one goes on until the next one begins.
        pace: the attacker's updates for each of ours; 0: no attack is simulated.
        won: L_unsafe above which an attacker has won, and the next one begins; the original's is near 1; 0: he goes on.
        every: L_unsafe is taken after the first of these, after every so many more, and after the last; 0: there only.
        other_words: share of the concept's pictures that are shown under prompts that don't name it.
        recognisable: least share of signal in x_t with which a picture counts as recognised whatever its prompt.
        unsafe_pictures, benign_pictures: drawn with ``sampling_steps`` and ``guidance_scale``.
        unsafe_images: a folder with pictures of the concept to use instead, captioned by text files beside them.
        kept: noisy benign samples whose predictions are held.
        guards: text guards by name, or folders of saved ones, each with its settings, that shall stand before it: what
            is drawn of their steered states stays as well.
        steered: pictures of these.
    """

    target: Literal["zero", "black_latent", "anchor"] = "zero"
    trainable: Literal["whole", "lora"] = "whole"
    rank: Natural = 8
    align_steps: Count = 300
    align_lr: Positive = 3e-4
    align_weights: Weights = (10.0, 0.5)
    harden_steps: Count = 1500
    harden_lr: Positive = 3e-4
    harden_weights: Weights = (10.0, 0.5)
    batch: Natural = 12
    unsafe_batch: Natural = 8
    attackers: Attackers = field(
        default_factory=lambda: Attackers(
            optimisers=("adam",), lrs=(1e-4, 2e-3), batches=(8,), steps=(8, 64), between=True
        )
    )
    pace: Count = 2
    won: NotNegative = 0.0
    every: Count = 0
    other_words: Share = 0.3
    recognisable: Share = 0.15
    unsafe_pictures: Natural = 160
    benign_pictures: Natural = 320
    unsafe_images: str = ""
    kept: Natural = 6400
    guards: dict[str, dict[str, Any]] = field(default_factory=dict)
    steered: Natural = 320
    sampling_steps: Natural = 20
    guidance_scale: NotNegative = 4.0

    def __post_init__(self) -> None:
        if not (self.align_steps or self.harden_steps):
            raise ConfigError("patronus_hardening: align_steps and harden_steps are 0; nothing would be trained.")


class PatronusHardeningRecipe(Recipe):
    """Patronus (arXiv 2510.16581), stages B1 and B2."""

    name = "patronus_hardening"
    Settings = HardeningTraining
    settings: HardeningTraining
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": {
            "trainable": "lora",
            "align_steps": 5000,
            "align_lr": 1e-4,
            "align_weights": (1.0, 0.01),
            "harden_steps": 5000,
            "harden_lr": 1e-4,
            "harden_weights": (1.0, 0.5),
            "batch": 64,
            "unsafe_batch": 4,
            "attackers": {"optimisers": ("momentum",), "lrs": (0.01,), "batches": (12,), "steps": (5,)},
            "pace": 5,
            "won": 0.0,
            "every": 1,
            "other_words": 0.0,
            "unsafe_pictures": 2000,
            "benign_pictures": 4000,
            "kept": 16000,
            "sampling_steps": 100,
            "guidance_scale": 7.5,
        },
        "tiny": {
            "align_steps": 4,
            "harden_steps": 4,
            "batch": 4,
            "unsafe_batch": 4,
            "unsafe_pictures": 4,
            "benign_pictures": 6,
            "kept": 16,
            "sampling_steps": 4,
        },
    }

    def train(self, bench: Workbench, run: Run) -> Guard:
        """Draw the data, align, harden, keep what changed."""
        settings = self.settings
        student = copy.deepcopy(bench.denoiser).float().requires_grad_(False)
        updates = self._updates(bench, student, run.seed) if settings.trainable == "lora" else None
        if updates is None:
            changed = [path for path, _ in student.requires_grad_(True).named_parameters()]
        else:
            changed = [f"{layer}.weight" for layer in updates.layers]
        self._fit(student, HardeningLosses(bench, settings, *self._data(bench, run.seed), run.workers), run)
        name = bench.family.denoisers[0]
        if updates is not None:
            if run.workers.first:
                save_tensors(run.folder / LORA_FILE, updates.tensors(name))
            updates.merge()
        weights, originals = dict(student.named_parameters()), dict(bench.denoiser.named_parameters())
        return PatronusHardening(
            self.concept,
            tensors={f"{name}.{path}": weights[path].detach().cpu().half() for path in changed},
            base={"weights": base_of({f"{name}.{path}": originals[path] for path in changed})},
        )

    def _updates(self, bench: Workbench, student: nn.Module, seed: int) -> LowRank:
        """On q, k, v and out of every attention layer."""
        layers = list(bench.attention_projections())
        if not layers:
            raise UnsupportedPipeline("the denoiser has no attention projections for low-rank updates: train it whole.")
        return LowRank(student, layers, self.settings.rank, torch.Generator().manual_seed(seed))

    def _fit(self, student: nn.Module, losses: HardeningLosses, run: Run) -> None:
        """B1, then B2."""
        settings = self.settings
        siege = PersistentAttack(student, settings.attackers, won=settings.won or math.inf, workers=run.workers)

        def align(step: int, rng: np.random.Generator) -> dict[str, Tensor]:
            alpha, beta = settings.align_weights
            benign, unsafe = losses.benign(student, rng), losses.unsafe(student, rng)
            return {"loss": alpha * benign + beta * unsafe, "benign": benign.detach(), "unsafe": unsafe.detach()}

        def harden(step: int, rng: np.random.Generator) -> dict[str, Tensor]:
            alpha, beta = settings.harden_weights
            how: dict[str, Any] = {"steps": settings.pace, "every": settings.every or None, "weight": beta}
            found = siege.protect(losses.attack, losses.unsafe, rng, **how)
            benign = losses.benign(student, rng)
            unsafe = torch.tensor(found or [math.nan]).mean()
            return {"loss": alpha * benign, "benign": benign.detach(), "unsafe": unsafe}

        def stage(steps: int, lr: float) -> FitSchedule:
            return FitSchedule(steps, settings.batch, lr, min(20, steps), 0.0, 0.0)

        options: dict[str, Any] = {"seed": run.seed, "workers": run.workers}
        fit(student, align, stage(settings.align_steps, settings.align_lr), run.folder / "align", **options)
        last = stage(settings.harden_steps, settings.harden_lr)
        fit(student, harden if settings.pace else align, last, run.folder / "harden", beside=siege, **options)

    def _data(self, bench: Workbench, seed: int) -> tuple[UnsafePictures, Kept]:
        settings, rng = self.settings, np.random.default_rng([seed, 1])
        sampling: dict[str, Any] = {"steps": settings.sampling_steps, "scale": settings.guidance_scale}
        tasks = unsafe_tasks(self.concept, settings.unsafe_pictures, rng)
        told = [task.text for task in tasks]
        texts = benign_texts(self.concept, settings.benign_pictures, rng)
        if settings.unsafe_images:
            latents, captions = from_folder(bench, Path(settings.unsafe_images), self.concept)
        else:
            latents, captions = drawn(bench, told, seed=seed, **sampling), told
        unsafe = UnsafePictures(latents, bench.encode(captions).float(), bench.encode(["", *texts]).float())
        pictures = drawn(bench, texts, seed=seed + 1, **sampling)
        benign = kept(bench, pictures, texts, texts, settings.kept, rng)
        if settings.target == "anchor":
            wanted = [task.wanted for task in tasks]
            instead = drawn(bench, wanted, seed=seed + 2, **sampling)
            benign = joined(benign, kept(bench, instead, wanted, told, settings.kept // 4, rng))
        if settings.guards:
            states = self._steered(bench, rng)
            pictures = drawn(bench, states, seed=seed + 3, **sampling)
            benign = joined(benign, kept(bench, pictures, states, states, settings.kept // 2, rng))
        return unsafe, benign

    def _steered(self, bench: Workbench, rng: np.random.Generator) -> Tensor:
        """(steered, R, D): what the guards before it make of prompts for the concept, most of them pairs."""
        settings, pool = self.settings, PromptPool(self.concept)
        texts = [pool.draw("single" if place % 4 == 3 else "pair", rng).text for place in range(settings.steered)]
        guards = stack_of(list(settings.guards), self.concept, settings.guards).guards
        return steered_states(bench, texts, guards)


class HardeningLosses:
    """The three losses, (), each over samples drawn with the ``rng`` that it is given.

    With several workers L_benign and L_unsafe are each one's own rows, divided by the whole batch; an attacker is the
    same for all of them.
    """

    def __init__(
        self,
        bench: Workbench,
        settings: HardeningTraining,
        pictures: UnsafePictures,
        kept: Kept,
        workers: Workers = ALONE,
    ) -> None:
        self.bench, self.settings, self.pictures, self.kept, self.workers = bench, settings, pictures, kept, workers
        with torch.no_grad():
            picture = bench.decode(pictures.latents[:1])
            self._black = bench.encode_pictures(torch.full_like(picture, -1.0)).float()
        self._recognised = int((bench.alpha_bar >= settings.recognisable).sum())  # timesteps, from the clearest on

    def benign(self, denoiser: nn.Module, rng: np.random.Generator) -> Tensor:
        """L_benign: distance to the original's predictions."""
        kept, count = self.kept, self.settings.batch
        rows = torch.from_numpy(rng.integers(len(kept.latents), size=count))[self.workers.mine(count)]
        embeds = kept.embeds[kept.prompts[rows]]
        seen = self.bench.predict(kept.latents[rows], kept.timesteps[rows], embeds, denoiser)
        return (seen - kept.noise[rows]).square().flatten(1).mean(1).sum() / count

    def attack(self, denoiser: nn.Module, batch: int, rng: np.random.Generator) -> Tensor:
        """What a fine-tuning attacker minimises: the denoising loss on the concept's pictures."""
        drawn = self._draw(batch, len(self.bench.alpha_bar), rng)
        return (self._seen(denoiser, drawn) - drawn.wanted).square().mean()

    def unsafe(self, denoiser: nn.Module, rng: np.random.Generator) -> Tensor:
        """L_unsafe: distance to the target."""
        settings, count = self.settings, self.settings.unsafe_batch
        times = self._recognised if settings.target == "anchor" else len(self.bench.alpha_bar)
        drawn = self._draw(count, times, rng).rows(self.workers.mine(count))
        seen = self._seen(denoiser, drawn)
        if settings.target != "black_latent":
            return seen.square().flatten(1).mean(1).sum() / count
        wanted = self.bench.path.leading_to(self._black, drawn.noisy, drawn.times)
        alpha_bar = self.bench.alpha_bar[drawn.times]
        ratio = alpha_bar / (1 - alpha_bar)
        return ((seen - wanted).square().flatten(1).mean(1) * ratio.clamp(max=MAX_SNR) / ratio).sum() / count

    def _seen(self, denoiser: nn.Module, drawn: Noised) -> Tensor:
        return self.bench.predict(drawn.noisy, drawn.times, drawn.embeds, denoiser)

    def _draw(self, count: int, times: int, rng: np.random.Generator) -> Noised:
        """Noised pictures of the concept at one of the first ``times`` timesteps, under what they are called."""
        random, device = torch.Generator().manual_seed(int(rng.integers(2**62))), self.bench.device
        rows = torch.randint(len(self.pictures.latents), (count,), generator=random)
        t = torch.randint(times, (count,), generator=random).to(device)
        noise = torch.randn(count, *self.bench.latent_shape, generator=random).to(device)
        clean = self.pictures.latents[rows]
        noisy = self.bench.noisy(clean, t, noise)
        return Noised(noisy, t, self.bench.wanted(clean, noise), self._said(rows, t < self._recognised, rng))

    def _said(self, rows: Tensor, recognised: Tensor, rng: np.random.Generator) -> Tensor:
        """States of the pictures' own prompts, or of other ones (often the empty one) where they are recognised."""
        own, others, count = self.pictures.embeds[rows], self.pictures.others, len(rows)
        drawn = torch.from_numpy(rng.integers(len(others), size=count) * (rng.random(count) > 0.3))
        swapped = torch.from_numpy(rng.random(count) < self.settings.other_words).to(recognised.device) & recognised
        return torch.where(swapped[:, None, None], others[drawn], own)


@dataclass(frozen=True)
class Noised:
    """x_t (B, …), t (B,), what should be predicted of it, and what its texts say (B, R, D)."""

    noisy: Tensor
    times: Tensor
    wanted: Tensor
    embeds: Tensor

    def rows(self, mine: slice) -> Noised:
        """Some of the rows."""
        return Noised(self.noisy[mine], self.times[mine], self.wanted[mine], self.embeds[mine])
