"""The recipe's machinery: every stage runs, an interrupted fit resumes to the same weights, what ships draws."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from closeness import same_bits
from stanchion.errors import ConfigError
from stanchion.learning.fit import FitSchedule, fit
from stanchion.reference import train, words
from stanchion.reference.features import load_features
from stanchion.reference.judge import load_judge, load_reward
from stanchion.reference.model import build_vae
from stanchion.reference.training import autoencoder
from stanchion.reference.training.autoencoder import normalise
from stanchion.reference.training.flux import FluxRecipe, FluxTraining
from stanchion.reference.words import corpus


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Every stage at its tiniest; latents are normalised over 32 pictures, words merged over 2,000 captions."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoencoder, "normalise", lambda vae, images: normalise(vae, images[:32]))
        patch.setattr(words, "corpus", lambda: corpus(count=2000))
        train.main(["--folder", str(folder), "--tiny"])
    return folder


def test_a_second_run_in_the_folder_asks_for_resume(run, capsys):
    with pytest.raises(SystemExit):
        train.main(["--folder", str(run), "--tiny"])
    assert "--resume" in capsys.readouterr().err


def test_what_is_shipped_loads_and_draws_with_stock_diffusers(run, tmp_path):
    training = train.Training(train.read_recipe(train.ModelRecipe, train.HERE / "recipe_tiny.yaml"), run)
    training.ship(tmp_path)
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("a knife", num_inference_steps=2, output_type="np").images[0]
    assert picture.shape == (48, 48, 3)
    assert not any(str(run) in file.read_text() for file in tmp_path.rglob("config.json"))
    assert np.isfinite(picture).all()
    blank = np.zeros((2, 48, 48, 3), np.uint8)
    assert len(load_judge(tmp_path / "judge").predict(blank)) == 2
    assert len(load_reward(tmp_path / "reward").describe(blank)) == 2
    assert load_features(tmp_path / "features").features(torch.zeros(2, 3, 48, 48)).shape == (2, 128)


def _fit_a_line(folder, steps, stop_at=None):
    torch.manual_seed(0)
    model = nn.Linear(3, 1)

    def loss(step, rng):
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 3) + float(rng.normal())
        return {"loss": (model(x) - x.sum(1, keepdim=True)).square().mean()}

    return fit(model, loss, FitSchedule(steps, 8, 0.05, warmup=2), folder, seed=4, save_every=0)


def test_an_interrupted_fit_resumes_to_the_same_weights(tmp_path):
    whole = _fit_a_line(tmp_path / "whole", 20)
    with pytest.raises(KeyboardInterrupt):
        _fit_a_line(tmp_path / "cut", 20, stop_at=11)
    resumed = _fit_a_line(tmp_path / "cut", 20)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert same_bits(a, b)


def test_normalising_the_latents_leaves_the_pictures_alone():
    torch.manual_seed(0)
    vae = build_vae((8, 8, 8)).eval()
    images = torch.rand(16, 3, 48, 48) * 2 - 1
    with torch.no_grad():
        before = vae.decode(vae.encode(images).latent_dist.mean).sample
        deviation = vae.encode(images).latent_dist.std
        share = (deviation / vae.encode(images).latent_dist.mean.std((0, 2, 3))[None, :, None, None]).mean()
        normalise(vae, images)
        latents = vae.encode(images).latent_dist
        after = vae.decode(latents.mean).sample
    assert torch.allclose(before, after, atol=1e-4)
    assert torch.allclose(latents.mean.std((0, 2, 3)), torch.ones(4), atol=1e-3)
    assert latents.mean.mean((0, 2, 3)).abs().max() < 1e-4
    assert torch.allclose(latents.std.mean(), share, rtol=1e-3)


def test_a_recipe_with_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text((train.HERE / "recipe_tiny.yaml").read_text() + "sede: 3\n")
    with pytest.raises(ConfigError, match="sede"):
        train.read_recipe(train.ModelRecipe, path)


def test_the_flux_recipe_runs_and_what_it_trains_draws_with_stock_diffusers(tmp_path):
    folder = tmp_path / "flux"
    train.main(["--model", "flux", "--folder", str(folder), "--tiny"])
    recipe = train.read_recipe(FluxRecipe, train.HERE / "recipe_flux_tiny.yaml")
    pipeline = FluxTraining(recipe, folder).pipeline()
    pipeline.set_progress_bar_config(disable=True)
    options = {"negative_prompt": "", "true_cfg_scale": 3.0, "max_sequence_length": 32, "height": 48, "width": 48}
    picture = pipeline("a knife", num_inference_steps=2, output_type="np", **options).images[0]
    assert picture.shape == (48, 48, 3)
    assert np.isfinite(picture).all()
