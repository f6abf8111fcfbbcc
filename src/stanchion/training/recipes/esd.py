"""ESD: a copy of the denoiser learns negative guidance away from the concept; the frozen original teaches it.

With theta* frozen, c the concept's text, "" the empty one and x_t a partly denoised sample of c:

    L = MSE(eps_theta(x_t, c, t), eps*(x_t, "", t) - eta (eps*(x_t, c, t) - eps*(x_t, "", t)))

In a flow eps is the velocity: the target's weights sum to one, so that the loss is the noise's but for (1 - t)^2.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...config import Natural, NotNegative, Positive, checked
from ...errors import ConfigError
from ...guards.base import Guard
from ...guards.weights.esd import ESD
from ...learning.fit import FitSchedule, fit
from ...pipeline.model.base_weights import base_of
from ...pipeline.model.workbench import Workbench
from ..contexts import contexts_of, in_contexts
from ..recipe import Recipe, Run

Part = Literal["x", "x-strict", "u"]


@checked
@dataclass(frozen=True)
class ESDTraining:
    """What is trained, on what, and for how long.

    Attributes:
        train: "x": cross-attention, or joint attention; "x-strict": its keys and values; "u": everything else.
        eta: how far past the empty prompt's prediction; the paper's, one less than in the present release.
        steps, batch, lr: updates, samples an update, learning rate; it falls on a cosine.
        pictures: trajectories of the frozen model that the samples are taken from.
        sampling_steps: denoising steps of a trajectory.
        guidance_scale: its guidance.
    """

    train: Part = "x"
    eta: NotNegative = 1.0
    steps: Natural = 200
    batch: Natural = 8
    lr: Positive = 1e-3
    pictures: Natural = 64
    sampling_steps: Natural = 20
    guidance_scale: NotNegative = 3.0


@dataclass(frozen=True)
class NoisySamples:
    """Partly denoised samples: x_t (N, …), t (N,), and what their prompts say (N, R, D)."""

    latents: Tensor
    timesteps: Tensor
    embeds: Tensor


class ESDRecipe(Recipe):
    """ESD (arXiv 2303.07345), chapters 4 and 5, with x_t from a pool of trajectories that are drawn once."""

    name = "esd"
    Settings = ESDTraining
    settings: ESDTraining
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": {"steps": 1000, "batch": 1, "lr": 1e-5, "sampling_steps": 50},
        "tiny": {"steps": 8, "batch": 4, "pictures": 4, "sampling_steps": 4, "lr": 3e-3},
    }

    def train(self, bench: Workbench, run: Run) -> Guard:
        """Draw the pool, fit the copy, keep what was trained."""
        settings = self.settings
        student = copy.deepcopy(bench.denoiser).float().requires_grad_(False)
        chosen = selected(bench, student, settings.train)
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        pool, empty = self._pool(bench, run.seed), bench.encode([""])

        def loss(step: int, rng: np.random.Generator) -> dict[str, Tensor]:
            drawn = torch.from_numpy(
                rng.integers(len(pool.latents), size=settings.batch)[run.workers.mine(settings.batch)]
            )
            x, t, c = (part[drawn.to(bench.device)] for part in (pool.latents, pool.timesteps, pool.embeds))
            wanted = target(bench, x, t, c, empty, settings.eta).float()
            error = bench.predict(x.float(), t, c.float(), student) - wanted
            return {"loss": error.square().flatten(1).mean(1).sum() / settings.batch}

        schedule = FitSchedule(settings.steps, settings.batch, settings.lr, min(20, settings.steps), 0.0, 0.0)
        fit(student, loss, schedule, run.folder, seed=run.seed, workers=run.workers)
        name = bench.family.denoisers[0]
        originals = dict(bench.denoiser.named_parameters())
        return ESD(
            self.concept,
            tensors={f"{name}.{path}": value.detach().cpu().half() for path, value in chosen.items()},
            base={"weights": base_of({f"{name}.{path}": originals[path] for path in chosen})},
        )

    def _pool(self, bench: Workbench, seed: int) -> NoisySamples:
        """Trajectories of the concept's phrases in a few contexts, as many of each as of the others."""
        settings = self.settings
        texts = in_contexts(contexts_of(self.concept), self.concept.targets)
        texts = [texts[k % len(texts)] for k in range(settings.pictures)]
        noise = torch.randn(len(texts), *bench.latent_shape, generator=torch.Generator().manual_seed(seed))
        empty, parts = bench.encode([""]), []
        for rows in torch.arange(len(texts)).split(16):
            embeds = bench.encode([texts[row] for row in rows])
            start = noise[rows].to(bench.device, bench.dtype)
            options = {"steps": settings.sampling_steps, "scale": settings.guidance_scale}
            visited = list(bench.trajectory(embeds, empty, start, **options))[:-1]
            parts += [NoisySamples(x, t.expand(len(x)), embeds) for t, x in visited]
        return NoisySamples(
            *(torch.cat([getattr(part, key) for part in parts]) for key in ("latents", "timesteps", "embeds"))
        )


@torch.no_grad()
def target(bench: Workbench, x: Tensor, t: Tensor, c: Tensor, empty: Tensor, eta: float) -> Tensor:
    """The teacher's eps*_0 - eta (eps*_c - eps*_0), (B, …)."""
    none, concept = bench.predict(torch.cat([x, x]), torch.cat([t, t]), torch.cat([empty.expand_as(c), c])).chunk(2)
    return none - eta * (concept - none)


def selected(bench: Workbench, denoiser: nn.Module, train: Part) -> dict[str, nn.Parameter]:
    """The parameters that a variant trains, by path: those of Linear and Conv layers, no norms.

    Raises:
        ConfigError: the denoiser has none.
    """
    chosen = {
        f"{path}.{name}": parameter
        for path, module in denoiser.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and _belongs(bench, path, train)
        for name, parameter in module.named_parameters()
    }
    if not chosen:
        raise ConfigError(f"esd: the denoiser has no layer for train={train!r}; take another part.")
    return chosen


def _belongs(bench: Workbench, path: str, train: Part) -> bool:
    if train == "x-strict":
        return bench.crosses(path, reading=True)
    return bench.crosses(path) == (train == "x")
