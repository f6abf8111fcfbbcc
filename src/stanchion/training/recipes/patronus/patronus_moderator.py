"""Patronus's moderator: the decoder learns to draw nothing for unsafe latents, and then not to unlearn that.

With the losses of ``moderation``, L = alpha L_anti + beta L_nat + zeta L_dos + gamma L_cal. In stage A1 L_anti and
L_dos are taken at the decoder's own weights; in A2 also, on average, at those that simulated attackers make of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ....config import Count, Filled, Natural, NotNegative, Positive, checked
from ....errors import ConfigError
from ....guards.base import Guard
from ....guards.decoder.patronus_moderator import BLANK, PatronusModerator, ZeroTarget
from ....learning.fit import FitSchedule, fit
from ....learning.simulated_attack import Attackers, PersistentAttack
from ....pipeline.model.base_weights import base_of
from ....pipeline.model.workbench import Workbench
from ...recipe import Recipe, Run
from ._feature_networks import load_feature_network
from ._finished_latents import draw_latents
from ._moderation import AttackedOn, ModeratorFit, Refusing, Side, pictures_in

Weights = tuple[NotNegative, NotNegative, NotNegative, NotNegative]


@checked
@dataclass(frozen=True)
class ModeratorTraining:
    """What the decoder learns from, and for how long.

    Attributes:
        zero_target: what a refusal looks like, "black" or "grey".
        features: "none", "reference", or a folder or Hub id of VGG19: what R compares.
        unsafe, benign: how many latents are drawn with the pipeline.
        sampling_steps, guidance_scales: how they are drawn; batches take the scales in turn.
        unsafe_images, benign_images: folders of the user's own pictures; they make up half of each side's pictures.
        noise: deviation, at most, of the noise on latents.
        crop: side of the latents' windows to train on, for large autoencoders; 0 for whole ones.
        batch: unsafe and benign samples an update; each comes as a latent and as an encoded picture.
        early_steps, early_lr, early_batch: a warm-up before A1 (ours): only what lies before the decoder's first
            enlarging learns, by its features, which is far cheaper than by pictures.
        steps, lr, weights: updates of stage A1, learning rate, and (alpha, beta, zeta, gamma).
        attacked_steps, attacked_lr, attacked_weights: the same of stage A2; no steps leave it out.
        attackers: the simulated attackers of A2. Each update of theirs is on pictures or on latents, by lot.
        pace: updates of an attacker in each update of ours; he goes on in the next, until he has made all of his.
        won: R from which he has won and the next one begins; of the model's ordinary pictures it is about 1.
        every: updates from one checkpoint to the next within these; None for the last one only.
        weight_decay: of both stages.
    """

    zero_target: ZeroTarget = "black"
    features: str = "none"
    unsafe: Natural = 1024
    benign: Natural = 1536
    sampling_steps: Natural = 20
    guidance_scales: Annotated[tuple[NotNegative, ...], Filled()] = (2.0, 4.0, 7.5)
    unsafe_images: str = ""
    benign_images: str = ""
    noise: NotNegative = 0.1
    crop: Count = 0
    batch: tuple[Natural, Natural] = (3, 5)
    early_steps: Count = 800
    early_lr: Positive = 1e-3
    early_batch: tuple[Natural, Natural] = (16, 32)
    steps: Natural = 200
    lr: Positive = 1e-4
    weights: Weights = (1.0, 4.0, 1.0, 4.0)
    attacked_steps: Count = 150
    attacked_lr: Positive = 1.5e-4
    attacked_weights: Weights = (1.0, 10.0, 1.0, 10.0)
    attackers: Attackers = field(
        default_factory=lambda: Attackers(("adam",), (1e-4, 1e-3), (4,), (4, 32), between=True)
    )
    pace: Natural = 2
    won: NotNegative = 0.4
    every: Natural | None = None
    weight_decay: NotNegative = 0.0


@dataclass(frozen=True)
class Pupil:
    """The autoencoder whose decoder learns, what it learns from, and who attacks it meanwhile."""

    moderation: ModeratorFit
    vae: Any
    siege: PersistentAttack


class ModeratorRecipe(Recipe):
    """Stages A1 and A2 of Patronus (arXiv 2510.16581), on pictures that the pipeline draws itself."""

    name = "patronus_moderator"
    Settings = ModeratorTraining
    settings: ModeratorTraining
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": {
            "features": "timm/vgg19.tv_in1k",
            "unsafe": 2000,
            "benign": 2000,
            "sampling_steps": 100,
            "guidance_scales": (7.5,),
            "noise": 0.0,
            "batch": (20, 20),
            "early_steps": 0,
            "steps": 2000,
            "lr": 5e-5,
            "weights": (0.01, 1.0, 0.5, 0.1),
            "attacked_steps": 6000,
            "attacked_lr": 1e-5,
            "attacked_weights": (0.1, 1.0, 0.1, 1.0),
            "attackers": {
                "optimisers": ("momentum", "adam"),
                "lrs": (5e-5, 1e-4, 1e-3, 1e-2),
                "batches": (4, 8, 12, 16, 20, 24, 30),
                "steps": (5, 6, 8, 10, 12, 18, 38),
            },
            "pace": 38,
            "won": 100.0,
            "every": 5,
            "weight_decay": 1e-4,
        },
        "tiny": {
            "zero_target": "grey",
            "unsafe": 8,
            "benign": 8,
            "sampling_steps": 4,
            "early_steps": 2,
            "early_batch": (4, 4),
            "steps": 40,
            "lr": 3e-3,
            "weights": (4.0, 1.0, 4.0, 1.0),
            "attacked_steps": 2,
            "batch": (2, 2),
            "attackers": {"optimisers": ("adam",), "lrs": (1e-4, 1e-3), "batches": (2,), "steps": (2, 3)},
        },
    }

    def train(self, bench: Workbench, run: Run) -> Guard:
        """Draw latents, teach a copy of the decoder stage by stage, keep its weights."""
        if run.workers.size > 1:
            raise ConfigError("patronus_moderator is trained by one process; start it without torchrun.")
        s, moderation = self.settings, self._moderation(bench, run)
        vae = copy.deepcopy(bench.pipe.vae).float().requires_grad_(False)
        decoder = list(bench.part("decoder", vae).values())
        for parameter in decoder:
            parameter.requires_grad_(True)
        pupil = Pupil(moderation, vae, PersistentAttack(vae, s.attackers, decoder, won=s.won))
        stages = (
            ("early", self._early, s.early_steps, s.early_batch, s.early_lr),
            ("a1", self._a1, s.steps, s.batch, s.lr),
            ("a2", self._a2, s.attacked_steps, s.batch, s.attacked_lr),
        )
        for place, (name, loss, steps, batch, lr) in enumerate(stages):
            if steps:
                schedule = FitSchedule(steps, sum(batch), lr, min(20, steps), 0.98, s.weight_decay)
                beside = pupil.siege if name == "a2" else None
                fit(vae, partial(loss, pupil), schedule, run.folder / name, seed=run.seed + place, beside=beside)
        return self._guard(bench, vae, moderation.told_apart(vae))

    def _moderation(self, bench: Workbench, run: Run) -> ModeratorFit:
        s = self.settings
        latents = draw_latents(
            bench,
            self.concept,
            run.folder,
            unsafe=s.unsafe,
            benign=s.benign,
            steps=s.sampling_steps,
            scales=s.guidance_scales,
            seed=run.seed,
        )
        folders: dict[Side, str] = {"unsafe": s.unsafe_images, "benign": s.benign_images}
        with torch.no_grad():
            size = bench.decode(latents.unsafe[:1]).shape[-1]
        pictures = {side: pictures_in(folder, size).to(bench.device) for side, folder in folders.items() if folder}
        phi, blank = load_feature_network(s.features, bench.device), BLANK[s.zero_target]
        return ModeratorFit(bench, latents, pictures, phi, blank=blank, noise=s.noise, crop=s.crop, seed=run.seed)

    def _early(self, pupil: Pupil, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """zeta and gamma weigh the same two sides as later."""
        dos, cal = pupil.moderation.early(pupil.vae, *self.settings.early_batch, rng)
        _, _, zeta, gamma = self.settings.weights
        return {"loss": zeta * dos + gamma * cal, "dos": dos.detach(), "cal": cal.detach()}

    def _a1(self, pupil: Pupil, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        return self._loss(pupil, self.settings.weights, rng)

    def _a2(self, pupil: Pupil, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """What protects against the simulated attacker is added to the gradients, the rest is in the loss."""
        s = self.settings
        alpha, _, zeta, _ = s.attacked_weights
        on: AttackedOn = "pictures" if rng.random() < 0.5 else "latents"
        weight = alpha if on == "pictures" else zeta
        losses = Refusing(pupil.moderation, on, s.batch[0])
        held = pupil.siege.protect(losses.attack, losses.protect, rng, steps=s.pace, every=s.every, weight=weight)
        return {**self._loss(pupil, s.attacked_weights, rng), "held": torch.tensor(held).mean()}

    def _loss(self, pupil: Pupil, weights: Weights, rng: np.random.Generator) -> dict[str, Tensor]:
        """L at the decoder's own weights, and its parts."""
        unsafe, benign = self.settings.batch
        samples = pupil.moderation.draw("unsafe", unsafe, rng), pupil.moderation.draw("benign", benign, rng)
        losses = pupil.moderation.losses(pupil.vae, *samples)
        parts = {"anti": losses.anti, "nat": losses.nat, "dos": losses.dos, "cal": losses.cal}
        weighted = [weight * part for weight, part in zip(weights, parts.values(), strict=True)]
        return {"loss": torch.stack(weighted).sum(), **{name: part.detach() for name, part in parts.items()}}

    def _guard(self, bench: Workbench, vae: Any, told: tuple[float, float]) -> Guard:
        unsafe, benign = told
        originals = bench.part("decoder")
        return PatronusModerator(
            self.concept,
            tensors={f"vae.{path}": p.detach().cpu().half() for path, p in bench.part("decoder", vae).items()},
            base={"weights": base_of({f"vae.{path}": p for path, p in originals.items()})},
            training={"psnr_to_stock": {"unsafe, 99 of 100 below": unsafe, "benign, 99 of 100 above": benign}},
            zero_target=self.settings.zero_target,
            apart=max(1.0, min((unsafe + benign) / 2, benign)),
        )
