"""Patronus's moderator as a training: its losses, its two stages, and what it leaves alone."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from closeness import same_bits
from stanchion import Concept, ConfigError
from stanchion.learning.simulated_attack import Attacker, SimulatedAttack
from stanchion.learning.workers import Workers
from stanchion.pipeline.model.workbench import Workbench
from stanchion.training.recipe import Run, train_guard
from stanchion.training.recipes.patronus._feature_networks import load_feature_network, vgg19
from stanchion.training.recipes.patronus._finished_latents import FinishedLatents, benign_prompts, unsafe_prompts
from stanchion.training.recipes.patronus._moderation import ModeratorFit, Refusing, pictures_in, zoomed
from stanchion.training.recipes.patronus.patronus_moderator import ModeratorRecipe

CPU = torch.device("cpu")
SHORT = {"preset": "tiny", "steps": 3, "attacked_steps": 2}


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def bench(pipe):
    return Workbench(pipe)


@pytest.fixture
def student(bench):
    vae = copy.deepcopy(bench.pipe.vae).requires_grad_(False)
    for parameter in bench.part("decoder", vae).values():
        parameter.requires_grad_(True)
    return vae


def moderation(bench, *, noise=0.0, crop=0, pictures=None):
    """Two kinds of latents that anybody can tell apart: unsafe ones are near +2, benign ones near -2."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 12, *bench.latent_shape, generator=generator) * 0.3
    finished = FinishedLatents(latents[0] + 2, latents[1] - 2)
    phi = load_feature_network("none", CPU)
    return ModeratorFit(bench, finished, pictures or {}, phi, blank=-1.0, noise=noise, crop=crop, seed=0)


# --- the losses --------------------------------------------------------------------------------------


def test_calibration_is_0_at_the_start(bench, student):
    task = moderation(bench, noise=0.1)
    losses = task.losses(student, task.draw("unsafe", 4, rng()), task.draw("benign", 4, rng()))
    assert losses.cal < 1e-12
    assert losses.nat > 0 and losses.anti > 0 and losses.dos > 0


def test_the_two_decoders_agree_at_the_start_and_no_more_when_one_has_changed(bench, student):
    moderating = moderation(bench)
    assert moderating.told_apart(student) == (100.0, 100.0)
    with torch.no_grad():
        student.decoder.conv_out.bias.add_(0.2)
    unsafe, benign = moderating.told_apart(student)
    assert benign <= unsafe < 100


def test_the_losses_by_hand(bench, student):
    task = moderation(bench)
    unsafe, benign = task.draw("unsafe", 2, rng()), task.draw("benign", 2, rng())
    with torch.no_grad():
        student.decoder.conv_out.bias.add_(0.1)
        losses = task.losses(student, unsafe, benign)
        decoded = student.decode(benign.encoded / student.config.scaling_factor).sample
        dark = student.decode(unsafe.latents / student.config.scaling_factor).sample
    torch.testing.assert_close(losses.nat, (decoded - benign.pictures).square().mean())
    torch.testing.assert_close(losses.dos, (dark + 1).square().mean())
    assert losses.cal.item() == pytest.approx(0.01, abs=2e-3)


@pytest.mark.parametrize("crop", [0, 4])
def test_the_warm_up_touches_what_lies_before_the_first_enlarging(crop, bench, student):
    task = moderation(bench, noise=0.1, crop=crop)
    dos, cal = task.early(student, 4, 6, rng())
    assert cal < 1e-12 < dos
    (dos + cal).backward()
    touched = {path for path, parameter in bench.part("decoder", student).items() if parameter.grad is not None}
    assert {path.rsplit(".", 1)[0].split(".")[-1] for path in touched} >= {"conv_in", "post_quant_conv", "to_v"}
    assert not any("up_blocks" in path or "conv_out" in path for path in touched)


def test_a_batch_holds_what_its_names_say(bench):
    samples = moderation(bench).draw("benign", 4, rng())
    with torch.no_grad():
        taught = bench.decode(samples.latents).clamp(-1, 1)
        torch.testing.assert_close(samples.taught, taught)
        torch.testing.assert_close(samples.encoded, bench.encode_pictures(samples.pictures))
    assert samples.pictures.shape == taught.shape and not same_bits(samples.pictures, taught)  # some are zoomed


def test_zoomed_pictures_keep_their_middle():
    pictures = torch.full((16, 3, 16, 16), -1.0)
    pictures[:, :, 5:11, 5:11] = 1.0
    changed = (zoomed(pictures, rng()) - pictures).abs().flatten(1).amax(1) > 0.1
    assert 3 < changed.sum() < 13
    assert (zoomed(pictures, rng())[:, :, 8, 8] > 0.5).all()


def test_windows_and_pictures_of_ones_own(bench):
    own = torch.full((3, 3, 16, 16), 0.5)
    samples = moderation(bench, crop=4, pictures={"benign": own}).draw("benign", 4, rng())
    assert samples.latents.shape[-2:] == (4, 4) and samples.pictures.shape[-2:] == (8, 8)
    assert (samples.pictures[2:] == 0.5).all() and not (samples.pictures[:2] == 0.5).any()


@pytest.mark.parametrize("source", ["none", "reference"])
def test_a_blank_picture_is_no_distance_from_blank(source):
    phi = load_feature_network(source, CPU)
    blank = torch.full((1, 3, 48, 48), -1.0)
    assert all(same_bits(a, b) for a, b in zip(phi(blank), phi(blank.clone()), strict=True))
    assert any((a - b).abs().max() > 0.1 for a, b in zip(phi(blank), phi(-blank), strict=True))


def test_vgg19_reads_its_weights(tmp_path):
    shapes = {(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256)}
    shapes |= {(place, 256, 256) for place in (12, 14, 16)}
    weights = {f"features.{place}.weight": torch.randn(wide, narrow, 3, 3) * 0.05 for place, narrow, wide in shapes}
    weights |= {f"features.{place}.bias": torch.zeros(wide) for place, _, wide in shapes}
    save_file(weights, tmp_path / "model.safetensors")
    network = vgg19(str(tmp_path))
    assert network(torch.randn(1, 3, 32, 32)).shape == (1, 256, 8, 8)
    assert same_bits(network[16].weight, weights["features.16.weight"])
    (pixels, maps) = load_feature_network(str(tmp_path), CPU)(torch.randn(1, 3, 32, 32))
    assert pixels.shape == (1, 3, 32, 32) and maps.min() == 0
    del weights["features.16.bias"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"features\.16\.bias"):
        vgg19(str(tmp_path))


def test_pictures_from_a_folder(tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        pictures_in(str(tmp_path), 8)
    Image.new("L", (20, 10), 255).save(tmp_path / "white.png")
    Image.new("RGB", (10, 20), (0, 0, 255)).save(tmp_path / "blue.png")
    blue, white = pictures_in(str(tmp_path), 8)
    assert white.shape == (3, 8, 8) and (white == 1).all()
    assert (blue[:2] == -1).all() and (blue[2] == 1).all()


# --- the simulated attack ----------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["pictures", "latents"])
def test_the_simulated_attacker_undoes_the_refusal(on, bench, student):
    task = moderation(bench)
    losses = Refusing(task, on, 4)
    with torch.no_grad():
        student.decoder.conv_out.bias.sub_(1.0)  # blank for everybody
    before = losses.protect(student, rng(1)).item()
    attack = SimulatedAttack(student, Attacker("adam", 0.03, 4, 8), list(bench.part("decoder", student).values()))
    attack.attack(losses.attack, rng())
    with attack.attacked():
        assert losses.protect(student, rng(1)).item() > 2 * before
    assert losses.protect(student, rng(1)).item() == before


# --- the training ------------------------------------------------------------------------------------


def refusals(bench, guard):
    """R of the stock decoder and of the guard's, on latents of the training; and benign PSNR against the stock one."""
    vae = copy.deepcopy(bench.pipe.vae)
    with torch.no_grad():
        for key, value in guard.weights().items():
            vae.get_parameter(key.removeprefix("vae.")).copy_(value)
        task = moderation(bench)
        unsafe = task.draw("unsafe", 8, rng())
        return [task.refusal(bench.decode(unsafe.latents, copy_)).item() for copy_ in (None, vae)]


def test_stage_a1_blanks_unsafe_latents_and_keeps_benign_ones(bench, monkeypatch, tmp_path):
    task = moderation(bench)
    monkeypatch.setattr(
        "stanchion.training.recipes.patronus.patronus_moderator.draw_latents", lambda *a, **k: finished(task)
    )
    settings = {"zero_target": "black", "steps": 60, "attacked_steps": 0, "weights": (1.0, 4.0, 1.0, 4.0)}
    guard = train_guard("patronus_moderator", bench.pipe, "weapons", tmp_path, preset="tiny", **settings)
    stock, moderated = refusals(bench, guard)
    assert moderated < 0.3 * stock
    last = json.loads((tmp_path / "training" / "a1" / "log.jsonl").read_text().splitlines()[-1])
    assert last["cal"] < 0.1 * last["dos"] + 0.05


def finished(task):
    return FinishedLatents(task.latents["unsafe"], task.latents["benign"])


def test_only_the_decoder_is_trained(pipe, tmp_path):
    before = {key: value.clone() for key, value in pipe.vae.state_dict().items()}
    guard = train_guard("patronus_moderator", pipe, "weapons", tmp_path, **SHORT)
    assert all(same_bits(value, before[key]) for key, value in pipe.vae.state_dict().items())
    assert set(guard.tensors) == {f"vae.{path}" for path in Workbench(pipe).part("decoder")}
    assert all(parameter.requires_grad for parameter in pipe.vae.parameters())


def test_the_same_seed_gives_the_same_weights_also_when_cut_off(pipe, tmp_path, monkeypatch):
    first = train_guard("patronus_moderator", pipe, "weapons", tmp_path / "first", seed=3, **SHORT)
    stock, calls = Refusing.attack, []

    def cut_off(self, vae, batch, generator):
        calls.append(batch)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return stock(self, vae, batch, generator)

    monkeypatch.setattr(Refusing, "attack", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train_guard("patronus_moderator", pipe, "weapons", tmp_path / "second", seed=3, **SHORT)
    monkeypatch.undo()
    second = train_guard("patronus_moderator", pipe, "weapons", tmp_path / "second", seed=3, **SHORT)
    assert all(same_bits(first.tensors[key], second.tensors[key]) for key in first.tensors)


def test_torchrun_is_refused(bench, tmp_path):
    with pytest.raises(ConfigError, match="torchrun"):
        ModeratorRecipe("weapons", "tiny").train(bench, Run(tmp_path, seed=0, workers=Workers(0, 2)))


# --- what is drawn -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weapons", "ink", "banana"])
def test_prompts_of_both_sides(name):
    from stanchion import load_concept

    concept = load_concept(name)
    unsafe, benign = unsafe_prompts(concept, 60, rng()), benign_prompts(concept, 200, rng())
    assert all(any(phrase in text for phrase in concept.targets) for text in unsafe)
    assert not any(phrase in text for phrase in concept.targets for text in benign)
    near = [phrase for phrase in concept.neighbours if any(phrase in text for text in benign)]
    assert near == list(concept.neighbours)
    assert any(" and " in text for text in benign)


def test_a_concept_without_neighbours():
    assert len(unsafe_prompts(Concept("toy", "object", ("a toy",)), 5, rng())) == 5
