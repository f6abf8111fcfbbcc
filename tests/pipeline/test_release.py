"""A released model: stock diffusers loads it, and it draws what the guarded pipeline draws."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionPipeline

import tiny
from closeness import near, same_bits
from stanchion import ArtefactError, ConfigError, registry
from stanchion.guards.base import Guard
from stanchion.guards.stack import GuardStack
from stanchion.pipeline.release import merge, release

PROMPTS = ["a photo of a knife", "a photo of a cat"]
MERGED = [name for name in registry.names("guards") if registry.get("guards", name).weights is not Guard.weights]
HOOKED = [name for name in registry.names("guards") if name not in MERGED]


def loaded(folder):
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("name", MERGED)
def test_the_folder_draws_what_the_guarded_pipeline_draws(name, pipe, tmp_path):
    guard = tiny.guard(name)
    with guard.attach(pipe):
        guarded = tiny.draw(pipe, PROMPTS)
    assert not near(guarded, tiny.draw(pipe, PROMPTS))
    folder = release(pipe, [guard], tmp_path / "model", model="somewhere")
    assert same_bits(tiny.draw(loaded(folder), PROMPTS), guarded)


def test_a_decoder_and_a_denoiser_are_merged_together(pipe, tmp_path):
    guards = [tiny.guard(name) for name in ("patronus_hardening", "patronus_moderator")]
    with GuardStack(*guards).attach(pipe):
        guarded = tiny.draw(pipe, PROMPTS)
    assert same_bits(tiny.draw(loaded(release(pipe, guards, tmp_path / "model", model="m")), PROMPTS), guarded)


def test_no_hook_and_no_class_of_ours_stays(pipe):
    merge(pipe, [tiny.guard("esd")])
    assert type(pipe) is StableDiffusionPipeline
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in pipe.unet.modules())


@pytest.mark.parametrize("name", HOOKED)
def test_a_guard_that_acts_while_drawing_is_refused(name, pipe, tmp_path):
    before = tiny.draw(pipe)
    with pytest.raises(ConfigError, match=f"{name} can't be merged: it replaces no weights"):
        release(pipe, [tiny.guard("esd"), tiny.guard(name)], tmp_path / "model", model="m")
    assert same_bits(tiny.draw(pipe), before)
    assert not (tmp_path / "model").exists()


def test_another_model_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="other weights"):
        release(tiny.pipeline(seed=1), [tiny.guard("esd")], tmp_path / "model", model="m")


def test_a_folder_that_holds_something_is_left_alone(pipe, tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        release(pipe, [tiny.guard("esd")], tmp_path, model="m")
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_half_precision_and_the_card(pipe, tmp_path):
    guard = tiny.guard("esd")
    folder = release(pipe, [guard], tmp_path / "model", model="somewhere", dtype=torch.float16)
    stored = loaded(folder)
    assert {part.dtype for part in (stored.unet, stored.vae, stored.text_encoder)} == {torch.float32}
    assert len(stored("a cat", num_inference_steps=1, output_type="pt").images) == 1
    for key, value in guard.weights().items():
        assert same_bits(stored.unet.get_parameter(key.removeprefix("unet.")), value.half().float())
    card = (folder / "README.md").read_text()
    assert "| esd | a weapon, a knife" in card
    hashes = [line.split(" | ") for line in card.splitlines() if line.startswith("| unet")]
    assert len(hashes) == 1
    assert hashes[0][1] != hashes[0][2].removesuffix(" |")
    assert guard.base["weights"]
    assert not list(folder.rglob("*.bin"))
