"""Trains a reference model from its recipe, stage by stage.

    python -m stanchion.reference.train --folder runs/reference [--recipe FILE | --tiny] [--resume] [--stages vae,clip]
    python -m stanchion.reference.train --folder runs/reference --ship
    python -m stanchion.reference.train --model flux --folder runs/flux    (the second model, on the first one's parts)

A stage that is finished is not run again, one that was cut off goes on from its checkpoint (``--resume``).
``--ship`` copies what was learnt into the package, in half precision where stock diffusers still draws with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from .. import config
from ..files.tensors import open_to_readers
from ..learning.fit import FitSchedule
from .features import FeatureNetwork, train_features
from .judge import WEIGHTS, JudgeNetwork, RewardNetwork
from .model import assemble, build_unet, text_encoder_from, without_origin
from .training.autoencoder import train_autoencoder
from .training.clip import train_clip
from .training.denoiser import Denoiser, encode_pool, train_denoiser
from .training.flux import FluxRecipe, FluxTraining
from .training.readers import train_judge, train_reward
from .words import train_tokenizer

HERE = Path(__file__).parent


R = TypeVar("R", bound="ModelRecipe | FluxRecipe")


@dataclass(frozen=True)
class ModelRecipe:
    """One ``FitSchedule`` a stage, the number of encoded scenes, and the seed of it all."""

    seed: int
    vae: FitSchedule
    vae_decoder: FitSchedule
    clip: FitSchedule
    judge: FitSchedule
    reward: FitSchedule
    pool: int
    denoiser_joint: FitSchedule
    denoiser: FitSchedule
    denoiser_styles: FitSchedule
    metric_clip: FitSchedule
    features: FitSchedule


def read_recipe(kind: type[R], path: Path) -> R:
    """Read a YAML file of schedules.

    Raises:
        ConfigError: it can't be read, or a key is missing, unknown or of another type.
    """
    return config.load(kind, path)


class Training:
    """The stages of one run in one folder; each property is read from there or trained first."""

    def __init__(self, recipe: ModelRecipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder

    def _stage(self, name: str, load: Callable[[Path], Any], train: Callable[[], Any]) -> Any:
        final = self.folder / name / "final"
        if not final.exists():
            train().save_pretrained(final)
        return load(final)

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        """Seconds: byte-pair merges on the world's captions."""
        part = self.folder / "tokenizer"
        return self._stage("tokenizer", CLIPTokenizer.from_pretrained, lambda: train_tokenizer(part))

    @cached_property
    def vae(self) -> AutoencoderKL:
        """The autoencoder, its latents normalised."""
        r = self.recipe
        folder = self.folder / "vae"
        vae = self._stage(
            "vae",
            AutoencoderKL.from_pretrained,
            lambda: train_autoencoder(r.vae, r.vae_decoder, folder, seed=r.seed),
        )
        return vae.to(memory_format=torch.channels_last)

    @cached_property
    def clip(self) -> CLIPModel:
        """Towers for rewards and for the text encoder's start."""
        shape = {"width": 128, "layers": 4, "patch": 8}
        return self._clip("clip", self.recipe.clip, self.recipe.seed + 10, **shape)

    @cached_property
    def metric_clip(self) -> CLIPModel:
        """Towers for measuring only: another shape, seed and patch."""
        shape = {"width": 96, "layers": 3, "patch": 8}
        return self._clip("metric_clip", self.recipe.metric_clip, self.recipe.seed + 20, **shape)

    def _clip(self, name: str, schedule: FitSchedule, seed: int, **shape: int) -> CLIPModel:
        folder = self.folder / name
        return self._stage(
            name,
            CLIPModel.from_pretrained,
            lambda: train_clip(self.tokenizer, schedule, folder / "fit", seed=seed, **shape),
        )

    @cached_property
    def judge(self) -> JudgeNetwork:
        """The judge of every measurement."""
        r, folder = self.recipe, self.folder / "judge"
        return self._stage(
            "judge",
            JudgeNetwork.from_pretrained,
            lambda: train_judge(r.judge, self.vae, folder / "fit", seed=r.seed + 30),
        )

    @cached_property
    def reward(self) -> RewardNetwork:
        """The reader that trains guards."""
        r, folder = self.recipe, self.folder / "reward"
        return self._stage(
            "reward",
            RewardNetwork.from_pretrained,
            lambda: train_reward(r.reward, folder / "fit", seed=r.seed + 40),
        )

    @cached_property
    def features(self) -> FeatureNetwork:
        """What FID, KID and perceptual losses compare."""
        r, folder = self.recipe, self.folder / "features"
        return self._stage(
            "features",
            FeatureNetwork.from_pretrained,
            lambda: train_features(r.features, folder / "fit", seed=r.seed + 80),
        )

    @cached_property
    def denoiser(self) -> Denoiser:
        """UNet and text encoder: together while the world grows, then the UNet alone, then with more of the styles."""
        r, folder = self.recipe, self.folder / "denoiser"
        unet_folder, text_folder = folder / "final" / "unet", folder / "final" / "text_encoder"
        if not text_folder.exists():
            torch.manual_seed(r.seed + 50)
            unet = build_unet().to(memory_format=torch.channels_last)
            networks = Denoiser(unet, text_encoder_from(self.clip, self.tokenizer))
            pool = encode_pool(self.vae, r.pool, self.folder / "pool", seed=r.seed + 60)
            plan: tuple[tuple[str, FitSchedule, dict[str, Any]], ...] = (
                ("joint", r.denoiser_joint, {"grow": True}),
                ("alone", r.denoiser, {}),
                ("styles", r.denoiser_styles, {"styled": 0.5}),
            )
            for place, (phase, schedule, how) in enumerate(plan):
                networks.text_encoder.requires_grad_(phase == "joint")
                seed = r.seed + 70 + place
                train_denoiser(networks, self.tokenizer, pool, schedule, folder / phase, seed=seed, **how)
            networks.unet.save_pretrained(unet_folder)
            networks.text_encoder.save_pretrained(text_folder)
        unet = UNet2DConditionModel.from_pretrained(unet_folder)
        return Denoiser(unet, CLIPTextModel.from_pretrained(text_folder)).eval()

    def ship(self, target: Path = WEIGHTS) -> None:
        """Write pipeline and readers to ``target``; the text encoder in float32, or stock loading can't draw."""
        networks = self.denoiser
        pipeline = assemble(self.vae.half(), networks.text_encoder, self.tokenizer, networks.unet.half())
        pipeline.save_pretrained(target / "pipeline")
        self.judge.half().save_pretrained(target / "judge")
        self.reward.half().save_pretrained(target / "reward")
        self.clip.half().save_pretrained(target / "clip")
        self.metric_clip.half().save_pretrained(target / "metric_clip")
        self.features.half().save_pretrained(target / "features")
        open_to_readers(*target.rglob("*.safetensors"))
        for file in target.rglob("config.json"):
            file.write_text(without_origin(file.read_text(encoding="utf-8")), encoding="utf-8")


MODELS: dict[str, tuple[Any, Any, str, tuple[str, ...]]] = {  # training, recipe, its file, stages in order
    "sd": (
        Training,
        ModelRecipe,
        "recipe",
        ("tokenizer", "vae", "clip", "judge", "reward", "denoiser", "metric_clip", "features"),
    ),
    "flux": (FluxTraining, FluxRecipe, "recipe_flux", ("transformer",)),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the stages asked for, in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="sd")
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints and results of the stages go")
    parser.add_argument("--recipe", type=Path, help="default: the recipe of what is shipped")
    parser.add_argument("--tiny", action="store_true", help="a few steps a stage, to try the machinery")
    parser.add_argument("--resume", action="store_true", help="go on in a folder that holds a run")
    parser.add_argument("--stages", help="comma list, default all")
    parser.add_argument("--ship", action="store_true", help="copy the finished model into the package")
    options = parser.parse_args(arguments)
    if options.folder.exists() and any(options.folder.iterdir()) and not (options.resume or options.ship):
        parser.error(f"{options.folder} is not empty; go on there with --resume, or name another --folder.")
    make, kind, file, stages = MODELS[options.model]
    shipped = HERE / f"{file}_tiny.yaml" if options.tiny else HERE / f"{file}.yaml"
    training = make(read_recipe(kind, options.recipe or shipped), options.folder)
    for stage in options.stages.split(",") if options.stages else stages:
        if stage not in stages:
            parser.error(f"unknown stage {stage!r}; known are {', '.join(stages)}.")
        getattr(training, stage)
    if options.ship:
        training.ship()


if __name__ == "__main__":
    main()
