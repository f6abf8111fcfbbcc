"""Patronus' hardening: its losses, low-rank updates, that it resists longer, and that it goes on where it stopped."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from closeness import difference, same_bits
from stanchion import ConfigError
from stanchion.learning import fit as fitting
from stanchion.learning.low_rank import LowRank
from stanchion.learning.simulated_attack import Attacker, SimulatedAttack
from stanchion.pipeline.model.workbench import Workbench
from stanchion.training.recipe import train_guard
from stanchion.training.recipes.patronus.patronus_hardening import HardeningLosses, PatronusHardeningRecipe
from stanchion.training.steered_states import steered_states

ATTACKERS = {"optimisers": ("adam",), "lrs": (1e-3,), "batches": (2,), "steps": (2,)}
FEW = {"align_steps": 2, "harden_steps": 2, "sampling_steps": 2, "attackers": ATTACKERS}


def losses_of(bench: Workbench, **settings) -> HardeningLosses:
    recipe = PatronusHardeningRecipe("weapons", "tiny", **settings)
    return HardeningLosses(bench, recipe.settings, *recipe._data(bench, seed=0))


@pytest.mark.parametrize("target", ["zero", "black_latent", "anchor"])
def test_nothing_benign_is_lost_at_the_start(target, pipe):
    """L_benign is 0 for the original; but for the concept's prompts where they shall be read as an anchor's."""
    losses = losses_of(Workbench(pipe), target=target)
    found = losses.benign(pipe.unet, np.random.default_rng(0)).item()
    assert found > 1e-9 if target == "anchor" else found < 1e-10


def test_black_latent_is_met_by_the_noise_that_leads_to_black(pipe, monkeypatch):
    bench = Workbench(pipe)
    losses = losses_of(bench, target="black_latent")
    black = bench.encode_pictures(-torch.ones(1, 3, tiny.SIZE, tiny.SIZE))

    def knows(latents, timesteps, embeds, denoiser=None):
        alpha_bar = bench.alpha_bar[timesteps].reshape(-1, 1, 1, 1)
        return (latents - alpha_bar.sqrt() * black) / (1 - alpha_bar).sqrt()

    monkeypatch.setattr(bench, "predict", knows)
    assert losses.unsafe(pipe.unet, np.random.default_rng(0)).item() < 1e-8


def test_other_words_are_for_pictures_that_can_be_recognised(pipe):
    losses = losses_of(Workbench(pipe), other_words=1.0)
    own = losses.pictures.embeds
    drawn = losses._draw(200, 1000, np.random.default_rng(0))
    named = torch.tensor([any(same_bits(said, each) for each in own) for said in drawn.embeds])
    assert same_bits(named, losses.bench.alpha_bar[drawn.times] < losses.settings.recognisable)
    assert 0 < named.sum() < 200


def test_an_anchors_targets_are_taken_where_pictures_are_recognised(pipe, monkeypatch):
    losses, seen = losses_of(Workbench(pipe), target="anchor"), []
    stock = HardeningLosses._seen
    monkeypatch.setattr(
        HardeningLosses, "_seen", lambda self, unet, drawn: (seen.append(drawn.times), stock(self, unet, drawn))[1]
    )
    for step in range(20):
        losses.unsafe(pipe.unet, np.random.default_rng(step))
    assert losses.bench.alpha_bar[torch.cat(seen)].min() >= losses.settings.recognisable


def test_what_a_text_guard_before_it_makes_of_prompts_stays(pipe):
    guard, bench, texts, read = tiny.guard("steerdiff", tau=0.0), Workbench(pipe), ["a knife and a cat", "a gun"], []
    states = steered_states(bench, texts, [guard])
    handle = pipe.unet.register_forward_pre_hook(
        lambda module, args, inputs: read.append(inputs["encoder_hidden_states"]), with_kwargs=True
    )
    with guard.attach(pipe):
        tiny.draw(pipe, texts, steps=1)
    handle.remove()
    torch.testing.assert_close(states, read[0].chunk(2)[1])
    assert not same_bits(states, bench.encode(texts))
    with pytest.raises(ConfigError, match="negative_prompt steers no prompt"):
        steered_states(bench, texts, [tiny.guard("negative_prompt")])
    kept = losses_of(bench, guards={str(tiny._trained("steerdiff")): {"tau": 0.0}}, steered=2).kept
    assert len(kept.latents) == 16 + 16 // 2


def test_pictures_may_be_ones_own(pipe, tmp_path):
    for name, text in (("a", "a gun on a table\n"), ("b", None)):
        Image.new("RGB", (40, 24), "red").save(tmp_path / f"{name}.png")
        if text:
            (tmp_path / f"{name}.txt").write_text(text)
    bench = Workbench(pipe)
    pictures = losses_of(bench, unsafe_images=str(tmp_path)).pictures
    assert same_bits(pictures.embeds, bench.encode(["a gun on a table", "a knife"]))
    red = torch.tensor([1.0, -1.0, -1.0])[:, None, None].expand(2, 3, tiny.SIZE, tiny.SIZE)
    torch.testing.assert_close(pictures.latents, bench.encode_pictures(red))
    with pytest.raises(ConfigError, match="no pictures"):
        losses_of(bench, unsafe_images=str(tmp_path / "none"))


def test_merged_updates_are_what_attached_ones_were(pipe):
    """Chapter 3.11: LoRA merged equals LoRA attached, and nothing else is left of it."""
    bench = Workbench(pipe)
    student = copy.deepcopy(pipe.unet).requires_grad_(False)
    updates = LowRank(student, list(bench.attention_projections()), 3, torch.Generator().manual_seed(0))
    assert len([p for p in student.parameters() if p.requires_grad]) == 2 * len(updates.layers)
    arguments = (torch.randn(2, *bench.latent_shape), torch.tensor([900, 10]), bench.encode(["a knife", "a cat"]))
    with torch.no_grad():
        torch.testing.assert_close(bench.predict(*arguments, student), bench.predict(*arguments))
        for parameter in student.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
        attached = bench.predict(*arguments, student)
        updates.merge()
        merged = bench.predict(*arguments, student)
    assert not torch.allclose(attached, bench.predict(*arguments), atol=1e-3)
    torch.testing.assert_close(merged, attached)
    assert set(student.state_dict()) == set(pipe.unet.state_dict())


def test_what_is_trained_as_lora_can_be_loaded_as_one(pipe, tmp_path):
    """The guard's merged weights, and the file beside its checkpoints, draw the same."""
    guard = train_guard("patronus_hardening", pipe, "weapons", tmp_path, preset="tiny", trainable="lora", align_lr=0.1)
    plain = tiny.draw(pipe, "a knife", steps=2)
    pipe.load_lora_weights(tmp_path / "training")
    loaded = tiny.draw(pipe, "a knife", steps=2)
    with guard.attach(merged := tiny.pipeline()):
        rounded = difference(loaded, tiny.draw(merged, "a knife", steps=2))  # the guard keeps halves
    assert rounded < 0.1 * difference(loaded, plain)


@pytest.mark.parametrize("settings", [{}, {"trainable": "lora", "target": "black_latent"}, {"target": "anchor"}])
def test_the_same_seed_gives_the_same_weights(settings, pipe, tmp_path):
    before = {key: value.clone() for key, value in pipe.unet.state_dict().items()}
    first, second = (
        train_guard("patronus_hardening", pipe, "weapons", tmp_path / name, preset="tiny", **FEW, **settings)
        for name in "ab"
    )
    assert all(same_bits(first.tensors[key], second.tensors[key]) for key in first.tensors)
    assert all(same_bits(value, before[key]) for key, value in pipe.unet.state_dict().items())
    moved = {key for key, value in first.tensors.items() if not same_bits(value, before[key[5:]].half())}
    assert moved
    assert all(".attn" in key for key in first.tensors) or not settings.get("trainable")


def test_a_training_that_was_cut_off_goes_on_to_the_same_result(tmp_path, monkeypatch):
    """Also where an attacker was half-way: the second checkpoint of B2 lies within an attack."""
    options = {"preset": "tiny", "harden_steps": 5}
    whole = train_guard("patronus_hardening", tiny.pipeline(), "weapons", tmp_path / "whole", **options)
    save, saved = fitting._Training.save, []

    def cut(training, folder, step):
        save(training, folder, step)
        saved.append(folder.name)
        if saved.count("harden") == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting.fit, "__kwdefaults__", {**fitting.fit.__kwdefaults__, "save_every": -1})
    monkeypatch.setattr(fitting._Training, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        train_guard("patronus_hardening", tiny.pipeline(), "weapons", tmp_path / "cut", **options)
    state = torch.load(tmp_path / "cut" / "training" / "harden" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2 and state["beside"]["attack"]["taken"] == 4
    monkeypatch.setattr(fitting._Training, "save", save)
    resumed = train_guard("patronus_hardening", tiny.pipeline(), "weapons", tmp_path / "cut", **options)
    assert all(same_bits(resumed.tensors[name], value) for name, value in whole.tensors.items())


def test_after_the_same_attack_the_protected_one_shows_less(tmp_path):
    """Chapter 3.11: after K simulated steps R of the protected < R of the unprotected, R the distance to the target."""
    pipe = tiny.pipeline()
    losses = losses_of(Workbench(pipe))
    options = {"preset": "tiny", "align_steps": 8, "harden_steps": 6, "align_lr": 1e-2, "harden_lr": 1e-2}
    protected = train_guard("patronus_hardening", pipe, "weapons", tmp_path, **options)

    def left(denoiser):
        attack = SimulatedAttack(denoiser, Attacker("adam", 1e-3, 8, 10))
        attack.attack(losses.attack, np.random.default_rng(1))
        with attack.attacked(), torch.no_grad():
            return np.mean([losses.unsafe(denoiser, np.random.default_rng(k)).item() for k in range(8)])

    unprotected = left(copy.deepcopy(pipe.unet))
    hardened = copy.deepcopy(pipe.unet)
    hardened.load_state_dict({key.removeprefix("unet."): value for key, value in protected.weights().items()})
    assert left(hardened) < 0.8 * unprotected
