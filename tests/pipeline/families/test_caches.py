"""diffusers' caches on a denoiser: what a guard predicts is its own, whatever a cache keeps of other passes."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers.hooks import apply_taylorseer_cache

import tiny_families
from closeness import near, same_bits
from small_guards import Identity, Mute
from stanchion import GuardBypassed, TraSCE, load_guard
from tiny_families.guards import KNIVES
from tiny_families.guards import guard as made

FLUX, STEPS = "FluxPipeline", 5
NEARBY = {"current_timestep_callback": lambda: 500, "spatial_attention_block_identifiers": ["transformer_blocks"]}
SKIPS = {"spatial_attention_block_skip_range": 2, **NEARBY}
CACHES = {
    "first_block": diffusers.FirstBlockCacheConfig(threshold=10.0),
    "mag": diffusers.MagCacheConfig(num_inference_steps=STEPS, mag_ratios=torch.ones(STEPS), threshold=0.2),
    "taylor_seer": diffusers.TaylorSeerCacheConfig(cache_interval=2, disable_cache_before_step=1),
    "pyramid": diffusers.PyramidAttentionBroadcastConfig(spatial_attention_timestep_skip_range=(0, 1000), **SKIPS),
}
GUARDS = {
    "identity": lambda pipe: Identity(),
    "faithful": lambda pipe: TraSCE(KNIVES, when="always", form="faithful"),
    "by noise": lambda pipe: TraSCE(KNIVES, when="flagged", trigger="noise", threshold=-1.0, looks=2),
    "sld": lambda pipe: load_guard("sld", concept=KNIVES),
    "monitor": lambda pipe: made("monitor", pipe),  # trips in the first step, and draws its anchor from then on
}
caches = pytest.mark.parametrize("cache", CACHES)


def guarded(pipe, name):
    with GUARDS[name](pipe).attach(pipe):
        return tiny_families.draw(pipe, steps=STEPS)


@pytest.fixture(scope="module")
def uncached():
    """What each guard draws on a denoiser without a cache."""
    pipe = tiny_families.pipeline(FLUX)
    return {name: guarded(pipe, name) for name in GUARDS}


@caches
def test_a_guard_predicts_past_a_cache_and_leaves_it_as_it_was(cache, uncached):
    pipe = tiny_families.fresh(FLUX)
    pipe.transformer.enable_cache(CACHES[cache])
    plain = tiny_families.draw(pipe, steps=STEPS)
    assert not near(plain, uncached["identity"])  # the cache has given what is not computed
    for name in GUARDS:
        assert near(guarded(pipe, name), uncached[name]), name
    assert same_bits(tiny_families.draw(pipe, steps=STEPS), plain)


@caches
def test_an_attention_guard_says_that_a_cache_hides_its_layers(cache):
    pipe = tiny_families.fresh(FLUX)
    pipe.transformer.enable_cache(CACHES[cache])
    with Mute(factor=1.0, projections=("k", "v")).attach(pipe), pytest.raises(GuardBypassed, match="disable_cache"):
        tiny_families.draw(pipe, steps=STEPS)


def test_a_cache_that_was_put_on_by_its_function_is_no_other(uncached):
    pipe = tiny_families.fresh(FLUX)
    apply_taylorseer_cache(pipe.transformer, CACHES["taylor_seer"])
    assert near(guarded(pipe, "faithful"), uncached["faithful"])
