"""Trains the reference FLUX: a small flow-matching transformer over the shipped autoencoder and text encoder.

    python -m stanchion.reference.train --model flux --folder runs/flux [--tiny] [--resume] [--ship]

Rectified flow (arXiv 2209.03003) as FLUX and SD3 use it (arXiv 2403.03206): x_t = (1 - t) x_0 + t ε, the network
predicts v = ε - x_0, and t is logit-normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from ...files.tensors import open_to_readers
from ...learning.fit import FitSchedule, fit
from .. import data
from ..judge import WEIGHTS
from ..model import LATENT, assemble_flux, build_flux, image_ids, text_ids, without_origin
from .clip import tokens
from .denoiser import Pool, encode_pool, growing


@dataclass(frozen=True)
class FluxRecipe:
    """The number of encoded scenes, one ``FitSchedule`` a phase, and the seed of it all."""

    seed: int
    pool: int
    grow: FitSchedule
    styles: FitSchedule


def velocity_loss(transformer: FluxTransformer2DModel, clean: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
    """The error of each row's predicted velocity, (B,), for ``clean`` latents (B, 4, 12, 12) and their text.

    ``text`` is states (B, 32, 128) and pooled (B, 128). Times are stratified: the same draw, less noise.
    """
    spread = (torch.arange(len(clean)) + torch.rand(len(clean))) / len(clean)
    t = torch.special.ndtri(spread.clamp(1e-4, 1 - 1e-4)).sigmoid().to(clean)  # logit-normal, mean 0, deviation 1
    noise, share = torch.randn_like(clean), t[:, None, None, None]
    states, pooled = text
    predicted = transformer(
        hidden_states=pack((1 - share) * clean + share * noise),
        timestep=t,
        encoder_hidden_states=states,
        pooled_projections=pooled,
        img_ids=image_ids().to(clean),
        txt_ids=text_ids(states.shape[1]).to(clean),
        return_dict=False,
    )[0]
    return (predicted - pack(noise - clean)).square().mean((1, 2))


def pack(latents: Tensor) -> Tensor:
    """(B, 4, 12, 12) to FLUX's (B, 36, 16): patches of 2 x 2."""
    return FluxPipeline._pack_latents(latents, len(latents), 4, LATENT, LATENT)


class FluxTraining:
    """The phases of one run in one folder; the autoencoder and the text encoder are the package's own and frozen."""

    def __init__(self, recipe: FluxRecipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        shipped = WEIGHTS / "pipeline"
        self.vae = AutoencoderKL.from_pretrained(shipped / "vae", torch_dtype=torch.float32).eval().to(self.device)
        text_encoder = CLIPTextModel.from_pretrained(shipped / "text_encoder", torch_dtype=torch.float32)
        self.text_encoder = text_encoder.eval().to(self.device)
        self.tokenizer = CLIPTokenizer.from_pretrained(shipped / "tokenizer")

    @cached_property
    def transformer(self) -> FluxTransformer2DModel:
        """While the world grows first, then with more of the styles."""
        r, final = self.recipe, self.folder / "transformer" / "final"
        if not final.exists():
            torch.manual_seed(r.seed + 90)
            transformer = build_flux().to(self.device)
            pool = encode_pool(self.vae, r.pool, self.folder / "pool", seed=r.seed + 91)
            self._phase("grow", transformer, pool, r.grow, seed=r.seed + 92)
            self._phase("styles", transformer, pool, r.styles, seed=r.seed + 93, styled=0.4)
            transformer.save_pretrained(final)
        return FluxTransformer2DModel.from_pretrained(final).to(self.device)

    def _phase(
        self,
        name: str,
        transformer: FluxTransformer2DModel,
        pool: Pool,
        schedule: FitSchedule,
        *,
        seed: int,
        styled: float | None = None,
    ) -> None:
        places = {}
        chances = None if styled is None else pool.chances(styled)

        def loss(step: int, rng: np.random.Generator) -> dict[str, Tensor]:
            names, styles = growing(step, schedule.steps) if styled is None else growing(1, 1)
            key = (len(names), len(styles))
            if key not in places:
                places[key] = pool.showing(names, styles)
            rows = rng.choice(places[key], schedule.batch, p=chances)
            ids = tokens(self.tokenizer, data.captions([pool.scenes[row] for row in rows], rng))
            with torch.no_grad():
                said = self.text_encoder(ids.to(self.device))
            clean = pool.latents[torch.from_numpy(rows)].to(self.device).float()
            return {"loss": velocity_loss(transformer, clean, (said.last_hidden_state, said.pooler_output)).mean()}

        fit(transformer, loss, schedule, self.folder / "transformer" / name, seed=seed)

    def ship(self, target: Path = WEIGHTS) -> None:
        """Write ``target``/flux: the transformer in half precision, the scheduler, and the index of a pipeline.

        The other parts are the reference pipeline's.
        """
        folder, pipe = target / "flux", self.pipeline()
        pipe.transformer.cpu().half().save_pretrained(folder / "transformer")
        pipe.scheduler.save_pretrained(folder / "scheduler")
        pipe.save_config(folder)
        open_to_readers(*folder.glob("transformer/*.safetensors"))
        for file in folder.glob("*/*config.json"):
            file.write_text(without_origin(file.read_text(encoding="utf-8")), encoding="utf-8")

    def pipeline(self) -> FluxPipeline:
        """The stock pipeline over what was trained."""
        return assemble_flux(self.vae, self.text_encoder, self.tokenizer, self.transformer)
