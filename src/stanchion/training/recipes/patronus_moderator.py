"""Patronus's moderator: the decoder learns to draw nothing for unsafe latents, and then not to unlearn that.

With the losses of ``moderation``, L = alpha L_anti + beta L_nat + zeta L_dos + gamma L_cal. In stage A1 L_anti and
L_dos are taken at the decoder's own weights; in A2 also, on average, at those that simulated attackers make of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from ...errors import ConfigError
from ...guards.base import Guard
from ...guards.decoder.patronus_moderator import BLANK, PatronusModerator, ZeroTarget
from ...pipeline.weights_seam import base_of
from ...pipeline.workbench import Workbench
from ..attack_simulation import Attackers, SimulatedAttack
from ..feature_networks import load_feature_network
from ..finished_latents import draw_latents
from ..fitting import Schedule, fit
from ..moderation import AttackedOn, Moderation, Refusing, Side, pictures_in
from ..recipe import Recipe, Run

Weights = tuple[float, float, float, float]


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
        steps, lr, weights: updates of stage A1, learning rate, and (alpha, beta, zeta, gamma).
        attacked_steps, attacked_lr, attacked_weights: the same of stage A2; no steps leave it out.
        optimisers, lrs, batches, attacks: simulated attackers, drawn by lot: learning rates log-uniform between the
            two, sizes of batches, and between how many and how many updates.
        every: updates from one checkpoint of an attack to the next.
        weight_decay: of both stages.
    """

    zero_target: ZeroTarget = "black"
    features: str = "none"
    unsafe: int = 768
    benign: int = 1280
    sampling_steps: int = 20
    guidance_scales: tuple[float, ...] = (2.0, 4.0, 7.5)
    unsafe_images: str = ""
    benign_images: str = ""
    noise: float = 0.1
    crop: int = 0
    batch: tuple[int, int] = (4, 6)
    steps: int = 400
    lr: float = 1e-3
    weights: Weights = (1.0, 4.0, 1.0, 4.0)
    attacked_steps: int = 200
    attacked_lr: float = 3e-4
    attacked_weights: Weights = (1.0, 4.0, 1.0, 4.0)
    optimisers: tuple[str, ...] = ("momentum", "adam")
    lrs: tuple[float, float] = (1e-4, 1e-3)
    batches: tuple[int, ...] = (4, 8)
    attacks: tuple[int, int] = (4, 16)
    every: int = 4
    weight_decay: float = 0.0


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
            "steps": 2000,
            "lr": 5e-5,
            "weights": (0.01, 1.0, 0.5, 0.1),
            "attacked_steps": 6000,
            "attacked_lr": 1e-5,
            "attacked_weights": (0.1, 1.0, 0.1, 1.0),
            "lrs": (5e-5, 1e-2),
            "batches": (4, 8, 12, 16, 20, 24, 30),
            "attacks": (5, 38),
            "every": 5,
            "weight_decay": 1e-4,
        },
        "tiny": {
            "zero_target": "grey",
            "unsafe": 8,
            "benign": 8,
            "sampling_steps": 4,
            "steps": 40,
            "lr": 3e-3,
            "weights": (4.0, 1.0, 4.0, 1.0),
            "attacked_steps": 2,
            "batch": (2, 2),
            "batches": (2,),
            "attacks": (2, 3),
            "every": 2,
        },
    }

    def train(self, bench: Workbench, run: Run) -> Guard:
        """Draw latents, teach a copy of the decoder in both stages, keep its weights."""
        if run.workers.size > 1:
            raise ConfigError("patronus_moderator is trained by one process; start it without torchrun.")
        moderation = self._moderation(bench, run)
        vae = copy.deepcopy(bench.pipe.vae).float().requires_grad_(False)
        for parameter in bench.part("decoder", vae).values():
            parameter.requires_grad_(True)
        s, size = self.settings, sum(self.settings.batch)
        first = Schedule(s.steps, size, s.lr, min(20, s.steps), 0.99, s.weight_decay)
        fit(vae, lambda step, rng: self._loss(moderation, vae, s.weights, rng), first, run.folder / "a1", seed=run.seed)
        if s.attacked_steps:
            second = Schedule(s.attacked_steps, size, s.attacked_lr, min(20, s.attacked_steps), 0.98, s.weight_decay)

            def attacked(step: int, rng: np.random.Generator) -> dict[str, Tensor]:
                held = self._attack(moderation, vae, rng)
                return {**self._loss(moderation, vae, s.attacked_weights, rng), **held}

            fit(vae, attacked, second, run.folder / "a2", seed=run.seed + 1)
        return self._guard(bench, vae)

    def _moderation(self, bench: Workbench, run: Run) -> Moderation:
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
        size = bench.decode(latents.unsafe[:1].to(bench.dtype)).shape[-1]
        pictures = {side: pictures_in(folder, size).to(bench.device) for side, folder in folders.items() if folder}
        phi, blank = load_feature_network(s.features, bench.device), BLANK[s.zero_target]
        return Moderation(bench, latents, pictures, phi, blank=blank, noise=s.noise, crop=s.crop)

    def _loss(self, moderation: Moderation, vae: Any, weights: Weights, rng: np.random.Generator) -> dict[str, Tensor]:
        """L at the decoder's own weights, and its parts."""
        unsafe, benign = self.settings.batch
        losses = moderation.losses(vae, moderation.draw("unsafe", unsafe, rng), moderation.draw("benign", benign, rng))
        parts = {"anti": losses.anti, "nat": losses.nat, "dos": losses.dos, "cal": losses.cal}
        total = sum(
            (weight * part for weight, part in zip(weights, parts.values(), strict=True)), losses.anti.new_zeros(())
        )
        return {"loss": total, **{name: part.detach() for name, part in parts.items()}}

    def _attack(self, moderation: Moderation, vae: Any, rng: np.random.Generator) -> dict[str, Tensor]:
        """Let an attacker, drawn by lot, fine-tune the decoder; what protects against him is added to its gradients."""
        s = self.settings
        kinds: tuple[tuple[AttackedOn, float], ...] = (
            ("pictures", s.attacked_weights[0]),
            ("latents", s.attacked_weights[2]),
        )
        on, weight = kinds[int(rng.integers(2))]
        attackers = Attackers(s.optimisers, s.lrs, s.batches, s.attacks, between=True)
        losses = Refusing(moderation, on, s.batch[0])
        weights = list(moderation.bench.part("decoder", vae).values())
        held = SimulatedAttack(vae, attackers.draw(rng), weights).protect(
            losses.attack, losses.protect, rng, every=s.every, weight=weight
        )
        return {"held": weights[0].new_tensor(float(np.mean(held)))}

    def _guard(self, bench: Workbench, vae: Any) -> Guard:
        originals = bench.part("decoder")
        return PatronusModerator(
            self.concept,
            tensors={f"vae.{path}": p.detach().cpu().half() for path, p in bench.part("decoder", vae).items()},
            base={"weights": base_of({f"vae.{path}": p for path, p in originals.items()})},
            zero_target=self.settings.zero_target,
        )
