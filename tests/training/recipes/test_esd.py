"""ESD's recipe: its target, what it trains, what it trains on, and that the optimum is the target."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import tiny
from closeness import near, same_bits
from stanchion import Concept, ConfigError, load_guard
from stanchion.pipeline.model.workbench import Workbench
from stanchion.training.recipe import Run, train_guard
from stanchion.training.recipes.esd import ESDRecipe, selected, target

TINY = {"preset": "tiny", "steps": 3}


def changed(pipe, guard, by=0.0):
    """Keys of the weights that moved by more than a distance, beyond rounding to float16."""
    parameters = dict(pipe.unet.named_parameters())
    away = {key: (value - parameters[key[5:]].half()).abs().max() for key, value in guard.tensors.items()}
    return {key for key, distance in away.items() if distance > by}


# --- chapter 3 of the specification, 1 to 6 ----------------------------------------------------------


def test_1_nothing_to_erase_is_nothing_to_learn(pipe, tmp_path):
    """eta = 0 and states that are the empty prompt's: loss 0, weights unmoved."""
    encoder = pipe.text_encoder
    getattr(encoder, "text_model", encoder).final_layer_norm.weight.data.zero_()  # every text reads as the empty one
    guard = train_guard("esd", pipe, "weapons", tmp_path, eta=0.0, **TINY)
    log = [json.loads(line) for line in (tmp_path / "training" / "log.jsonl").read_text().splitlines()]
    assert log[0]["loss"] < 1e-10
    assert not changed(pipe, guard, by=2e-3)


@pytest.mark.parametrize("eta", [0.0, 1.0, 2.5])
def test_2_the_present_releases_eta_is_one_more(eta, pipe):
    bench = Workbench(pipe)
    c, empty = bench.encode(["a knife", "a gun"]), bench.encode([""])
    x, t = torch.randn(2, *bench.latent_shape), torch.tensor([900, 100])
    with torch.no_grad():
        none, concept = (bench.predict(x, t, states) for states in (empty.expand_as(c), c))
    present = concept - (eta + 1) * (concept - none)
    torch.testing.assert_close(target(bench, x, t, c, empty, eta), present, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("train", ["x", "x-strict", "u"])
def test_3_only_the_selected_weights_change(train, pipe, tmp_path):
    before = {key: value.clone() for key, value in pipe.unet.state_dict().items()}
    guard = train_guard("esd", pipe, "weapons", tmp_path, train=train, **TINY)
    assert all(same_bits(value, before[key]) for key, value in pipe.unet.state_dict().items())
    assert set(guard.tensors) == {f"unet.{path}" for path in selected(Workbench(pipe), pipe.unet, train)}
    assert changed(pipe, guard)


def test_3b_the_parts_are_those_of_the_release(pipe):
    x, strict, u = (set(selected(Workbench(pipe), pipe.unet, train)) for train in ("x", "x-strict", "u"))
    layers = {
        f"{path}.{name}"
        for path, module in pipe.unet.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
        for name, _ in module.named_parameters()
    }
    assert x | u == layers and not x & u and strict < x
    assert all("attn2" in path for path in x) and not any("attn2" in path for path in u)
    assert {path.split(".")[-2] for path in strict} == {"to_k", "to_v"}
    assert {"conv_in.weight", "conv_out.weight", "time_embedding.linear_1.weight"} <= u


def test_3c_a_denoiser_without_such_layers_is_refused():
    with pytest.raises(ConfigError, match="x-strict"):
        selected(Workbench(tiny.pipeline()), nn.Sequential(nn.Linear(2, 2)), "x-strict")


def test_4_samples_have_the_noise_of_their_timestep(pipe, tmp_path):
    """With a denoiser that is right about latents of variance s: x_t has variance a s + 1 - a at every t."""
    bench, spread = Workbench(pipe), 0.25

    def perfect(x, t, encoder_hidden_states):
        a = bench.alpha_bar[t].reshape(-1, 1, 1, 1)
        return SimpleNamespace(sample=(1 - a).sqrt() * x / (a * spread + 1 - a))

    pipe.unet.forward = perfect
    recipe = ESDRecipe("weapons", preset="tiny", pictures=64, sampling_steps=50)
    pool = recipe._pool(bench, seed=0)
    assert len(pool.latents) == 64 * 50 and set(pool.timesteps.tolist()) == set(bench.timesteps(50).tolist())
    for t in bench.timesteps(50)[::7]:
        a = bench.alpha_bar[t]
        found = pool.latents[pool.timesteps == t].var()
        torch.testing.assert_close(found, a * spread + 1 - a, rtol=0.08, atol=0.0)


def test_5_a_linear_denoiser_learns_its_target(pipe, tmp_path, monkeypatch):
    """eps = B c, whatever x and t: the optimum is B(2 ""- c) for the concept's states c, eta 1."""

    class Linear(nn.Module):
        device, dtype = torch.device("cpu"), torch.float32

        def __init__(self):
            super().__init__()
            self.attn2 = nn.ModuleDict({"to_k": nn.Linear(32, 4, bias=False)})
            self.config = pipe.unet.config

        def forward(self, x, t, encoder_hidden_states):
            said = self.attn2["to_k"](encoder_hidden_states.mean(1))[:, :, None, None]
            return SimpleNamespace(sample=said.expand_as(x))

    toy, bench = Linear(), Workbench(pipe)
    monkeypatch.setattr(Workbench, "denoiser", property(lambda self: toy))
    settings = {"steps": 400, "batch": 16, "lr": 0.05, "guidance_scale": 1.0}
    recipe = ESDRecipe(Concept("knife", "object", ("a knife",)), "tiny", **settings)
    guard = recipe.train(bench, Run(tmp_path, seed=0))
    c, empty = bench.encode(["a photo of a knife"]), bench.encode([""])
    x, t = torch.zeros(1, *bench.latent_shape), torch.tensor([500])
    wanted = target(bench, x, t, c, empty, 1.0)
    toy.attn2["to_k"].weight.data = guard.tensors["unet.attn2.to_k.weight"].float()
    torch.testing.assert_close(bench.predict(x, t, c), wanted, atol=0.02, rtol=0.02)


def test_6_saved_loaded_and_taken_off(pipe, tmp_path):
    guard = train_guard("esd", pipe, "weapons", tmp_path, **TINY)
    plain = tiny.draw(pipe, "a knife")
    pictures = []
    for each in (guard, load_guard(tmp_path)):
        with each.attach(pipe):
            pictures.append(tiny.draw(pipe, "a knife"))
    assert same_bits(*pictures) and not near(pictures[0], plain)
    assert same_bits(tiny.draw(pipe, "a knife"), plain)


# --- resuming ----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights(pipe, tmp_path):
    first, second = (train_guard("esd", pipe, "weapons", tmp_path / name, **TINY) for name in ("a", "b"))
    assert all(same_bits(first.tensors[key], second.tensors[key]) for key in first.tensors)
