"""A monitor is shown maps of the picture on every family, guided or not; and is trained on what a family draws."""

import pytest
import torch

import tiny_families
from closeness import near, same_bits
from stanchion import ConfigError, UnsupportedPipeline, load_guard
from stanchion.guards import support
from stanchion.pipeline.families import families, family_of
from stanchion.pipeline.families.base import Pass
from stanchion.training.recipe import train_guard
from stanchion.training.recipes.monitor._runs import Recorder, draw_runs
from tiny_families.guards import KNIVES, guard

FIRST = {family.classes[0] for family in families()}
WIDE = {"height": 16, "width": 32}


def test_it_stands_wherever_pictures_are_drawn():
    refused = {row.kind for row in support.table() if row.guard.name == "monitor" and row.state == "refused"}
    assert refused == {"WanPipeline"}


@pytest.mark.parametrize("kind", ["FluxPipeline", "ChromaPipeline", "QwenImagePipeline"])
def test_packed_latents_are_what_the_pipeline_unpacks(kind):
    """Behind the last step of Euler the picture is what the prediction saw."""
    pipe, looking = tiny_families.pipeline(kind), Recorder(KNIVES)
    with looking.attach(pipe):
        drawn = tiny_families.draw(pipe, steps=2, output_type="latent", **WIDE)
    own = pipe._unpack_latents(drawn, *WIDE.values(), pipe.vae_scale_factor)
    own = own[:, :, 0] if own.ndim == 5 else own
    assert own.shape[2] * 2 == own.shape[3]
    torch.testing.assert_close(looking.seen[-1].float(), own, rtol=1e-2, atol=1e-3)  # remembered in half precision


def test_flux_2_is_seen_in_patches():
    pipe = tiny_families.pipeline("Flux2KleinPipeline")
    maps = torch.randn(2, 8, 3, 5, generator=torch.Generator().manual_seed(0))
    one = Pass({"img_ids": pipe._prepare_latent_ids(maps)})
    assert same_bits(family_of(pipe).mapped(pipe._pack_latents(maps), one), maps)


@pytest.mark.parametrize("kind", ["FluxPipeline", "FluxFillPipeline", "Flux2Pipeline", "StableDiffusionXLPipeline"])
def test_without_guidance_it_watches_all_the_same(kind):
    """What was distilled draws in one prediction, which says as well what it sees; who steers needs two."""
    pipe = tiny_families.pipeline(kind)
    alone = {"true_cfg_scale": 1.0} if kind == "FluxPipeline" else {"guidance_scale": 1.0}
    before = tiny_families.draw(pipe, steps=2, **alone)
    with guard("monitor", pipe).attach(pipe) as attachment:
        guarded = tiny_families.draw(pipe, steps=2, **alone)
    assert all(attachment.last.acted) and not near(guarded, before)
    assert same_bits(tiny_families.draw(pipe, steps=2, **alone), before)
    with pytest.raises(UnsupportedPipeline, match="distilled"), load_guard("negative_prompt", KNIVES).attach(pipe):
        tiny_families.draw(pipe, steps=2, **alone)


PASSED = {
    "QwenImageEditPipeline",  # begins with a picture
    "WanPipeline",  # refused
    "Flux2Pipeline",  # does not take the latents that it gives, and says so
    "PixArtSigmaPipeline",  # its own scheduler's steps are not DDIM's, by which it is begun
}


@pytest.mark.parametrize("kind", sorted(FIRST - PASSED))
def test_what_was_begun_goes_on_where_it_stopped(kind, tmp_path):
    pipe, given = tiny_families.pipeline(kind), of_calls(kind)
    if negative := tiny_families.TINY[kind].negative:
        given["negative_prompt"] = [negative]
    about = {"steps": 4, "scale": given.pop("guidance_scale", 4.0), "seed": 0, "more": given}
    whole = draw_runs(pipe, KNIVES, tmp_path / "x.safetensors", ["a gun"], **about)
    rest = draw_runs(pipe, KNIVES, tmp_path / "y.safetensors", ["a gun"], **about, begun=2)
    torch.testing.assert_close(rest.seen, whole.seen[:, 2:], rtol=0.01, atol=0.01)
    torch.testing.assert_close(rest.levels, whole.levels[2:])


def of_calls(kind):
    """A tiny pipeline's arguments, and room for all of a concept's phrases."""
    given = dict(tiny_families.TINY[kind].options)
    return given | {name: 96 for name in given if name == "max_sequence_length"}


@pytest.mark.parametrize("kind", ["StableDiffusionXLPipeline", "StableDiffusion3Pipeline", "Flux2KleinPipeline"])
def test_it_is_trained_on_what_a_pipeline_draws(kind, tmp_path):
    pipe = tiny_families.pipeline(kind)
    given = {name: value for name, value in of_calls(kind).items() if name != "guidance_scale"}
    few = {"preset": "tiny", "named": 8, "harmless": 8, "arguments": given}
    with pytest.raises(ConfigError, match="soft_prompts=0"):
        train_guard("monitor", pipe, "weapons", tmp_path / "searched", **few)
    train_guard("monitor", pipe, "weapons", tmp_path / "drawn", **few, soft_prompts=0)
    made = load_guard(tmp_path / "drawn", look_from=0.0)
    assert set(made.training["held_out"]) == {"named", "harmless", "steered_0", "completed_0", "watched_0"}
    with made.attach(pipe) as attachment:
        tiny_families.draw(pipe, steps=2)
    assert len(attachment.last.guards[0].scores["seen"]) == 2


def test_on_flux_it_also_learns_from_searched_states(tmp_path):
    pipe = tiny_families.flux.on_clip()
    made = train_guard("monitor", pipe, "weapons", tmp_path, preset="tiny", named=8, harmless=8)
    assert {"attacked_0", "hidden_0"} <= set(made.training["held_out"])
    assert made.tensors["first.weight"].shape[1] == 4 + 2
