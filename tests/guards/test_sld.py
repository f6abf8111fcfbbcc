"""SLD against its equations, by hand, and against the pipeline in diffusers."""

from __future__ import annotations

from functools import cache

import pytest
import torch

import tiny
from closeness import near, same_bits
from stanchion import SLD, ConfigError
from stanchion.guards.trajectory.sld import PRESETS, State, Strength, safety
from stanchion.types import Condition, Step

SHAPE = (2, 4, 8, 8)
PROMPT, EMPTY, CONCEPT, NEGATIVE = (Condition(torch.tensor([[[value]]])) for value in (1.0, 0.0, 0.7, -0.4))
EVERYTHING = {"preset": "max", "warmup": 0.0, "momentum": 0.0, "threshold": 1e30, "scale": 1e30}


def denoise(latents, condition):
    value = condition.embeds.reshape(-1, 1, 1, 1).to(latents)
    return torch.sin(latents * (1 + 0.3 * value)) + 0.1 * value


def toy_step(index=0, total=10, **changes):
    latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(index), dtype=torch.float32)
    values = {
        "index": index,
        "substep": 0,
        "total": total,
        "timestep": torch.tensor(500),
        "alpha_bar": 0.5,
        "input_scale": 1.0,
        "noise_scale": 1.0,
        "latents": latents,
        "guidance_scale": 7.5,
        "prompt": PROMPT,
        "empty": EMPTY,
        "negative": None,
        "predict": lambda x, *conditions, rows=None: tuple(denoise(x, condition) for condition in conditions),
    }
    return Step(**{**values, **changes})


def cfg(step, empty=EMPTY):
    e, p = step.predict(step.latents, empty, step.prompt)
    return e + step.guidance_scale * (p - e)


# --- chapter 1 of the specification, 1 to 6 ----------------------------------------------------------


@pytest.mark.parametrize("negative", [None, NEGATIVE])
def test_1_everything_saturated_is_composable_diffusion(negative):
    step = toy_step(negative=negative)
    noise = SLD("weapons", **EVERYTHING).on_step(step, State(CONCEPT)).noise
    u, p, s = step.predict(step.latents, negative or EMPTY, PROMPT, CONCEPT)
    torch.testing.assert_close(noise, u + step.guidance_scale * (p - s))


def test_2_in_the_warm_up_nothing_changes_but_the_momentum(pipe):
    plain = tiny.draw(pipe, "a photo of a knife", output_type="latent")
    guard = SLD("weapons", preset="strong", warmup=1.5)
    with guard.attach(pipe) as attachment:
        drawn = tiny.draw(pipe, "a photo of a knife", output_type="latent")
        assert near(drawn, plain)  # a batch of three conditions against the pipeline's two
        assert attachment.last.acted == (False,)
    state, step = State(CONCEPT), toy_step()
    assert same_bits(guard.on_step(step, state).noise, cfg(step))
    assert state.momentum.ne(0).any()


def test_3_a_prompt_that_equals_the_safety_text_is_left_alone():
    step = toy_step(prompt=CONCEPT)
    result = SLD("weapons", preset="max").on_step(step, State(CONCEPT))
    assert same_bits(result.noise, cfg(step))
    assert not result.acted.any()


def test_4_two_steps_by_hand():
    """Entries of D: saturated, half saturated, zero, at the threshold."""
    strength = Strength(warmup=0.0, scale=10.0, threshold=0.2, momentum=0.5, decay=0.25)
    own, concept = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.4)
    prompt = concept + torch.tensor([[[[-0.3, -0.05], [0.0, 0.2]]]])
    state = State(CONCEPT)
    gamma = safety(own, prompt, concept, strength, state, 1.0)
    torch.testing.assert_close(gamma, torch.tensor([[[[0.4, 0.2], [0.0, 0.0]]]]))
    torch.testing.assert_close(state.momentum, torch.tensor([[[[0.3, 0.15], [0.0, 0.0]]]]))
    gamma = safety(own, prompt, concept, strength, state, 1.0)
    torch.testing.assert_close(gamma, torch.tensor([[[[0.55, 0.275], [0.0, 0.0]]]]))
    torch.testing.assert_close(state.momentum, torch.tensor([[[[0.4875, 0.24375], [0.0, 0.0]]]]))


@pytest.mark.parametrize("momentum", [0.3, 0.5])
def test_5_a_constant_input_grows_to_its_limit(momentum):
    strength = Strength(0.0, 1e9, 1e9, momentum, 0.7)
    own, prompt, concept = torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    state = State(CONCEPT)
    for _ in range(200):
        gamma = safety(own, prompt, concept, strength, state, 1.0)
    assert gamma.item() == pytest.approx(1 / (1 - momentum), rel=1e-4)


@cache
def unguarded(steps):
    return tiny.draw(tiny.pipeline(), "a photo of a knife", steps=steps, output_type="np")


@pytest.mark.parametrize("preset", PRESETS)
def test_6_agrees_with_the_pipeline_in_diffusers(preset):
    """Same parts, seed and safety text; the same batch of three, and half a thousandth of a pixel's range."""
    safe = pytest.importorskip("diffusers.pipelines.deprecated.stable_diffusion_safe.pipeline_stable_diffusion_safe")
    guard, steps = SLD("weapons", preset=preset), 20
    with guard.attach(pipe := tiny.pipeline()):
        ours = tiny.draw(pipe, "a photo of a knife", steps=steps, output_type="np")
    theirs = safe.StableDiffusionPipelineSafe(**tiny.parts())
    theirs.safety_concept = guard.concept.text
    theirs.set_progress_bar_config(disable=True)
    strength = PRESETS[preset]
    expected = tiny.draw(
        theirs,
        "a photo of a knife",
        steps=steps,
        output_type="np",
        sld_guidance_scale=strength.scale,
        sld_warmup_steps=round(strength.warmup * steps),
        sld_threshold=strength.threshold,
        sld_momentum_scale=strength.momentum,
        sld_mom_beta=strength.decay,
    )
    plain = unguarded(steps)
    assert abs(ours - expected).max() < 5e-4
    assert abs(ours - plain).max() > 10 * abs(ours - expected).max()


# --- beyond it ---------------------------------------------------------------------------------------


def test_the_momentum_begins_anew_with_every_call(pipe):
    guard = SLD("weapons")
    with guard.attach(pipe):
        assert same_bits(tiny.draw(pipe, "a knife"), tiny.draw(pipe, "a knife"))


def test_velocity_is_steered_as_noise_is():
    """The same model in both parametrisations: v = (eps - sqrt(1 - a) x) / sqrt(a)."""
    noise = toy_step()
    share = noise.alpha_bar

    def velocity(x, *conditions, rows=None):
        return tuple((denoise(x, c) - (1 - share) ** 0.5 * x) / share**0.5 for c in conditions)

    step = toy_step(predict=velocity, noise_scale=share**0.5)
    guard, states = SLD("weapons", preset="medium", warmup=0.0), (State(CONCEPT), State(CONCEPT))
    for _ in range(2):
        expected = guard.on_step(noise, states[0]).noise
        found = guard.on_step(step, states[1]).noise
        torch.testing.assert_close(share**0.5 * found + (1 - share) ** 0.5 * step.latents, expected)


def test_the_unit_scales_both_constants():
    scaled, plain = State(CONCEPT), State(CONCEPT)
    strength = Strength(0.0, 8.0, 0.1, 0.5, 0.7)
    own, prompt, concept = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0)) / 10
    for _ in range(2):
        torch.testing.assert_close(
            safety(3 * own, 3 * prompt, 3 * concept, strength, scaled, 1 / 3),
            3 * safety(own, prompt, concept, strength, plain, 1.0),
        )


def test_the_warm_up_is_counted_in_passes():
    guard, state, steps = SLD("weapons", preset="medium"), State(CONCEPT), [toy_step(k) for k in range(4)]
    acted = [guard.on_step(step, state).acted.all().item() for step in steps]
    assert acted == [False, False, True, True]


def test_without_guidance_it_still_steers():
    step = toy_step(guidance_scale=1.0)
    noise = SLD("weapons", **EVERYTHING).on_step(step, State(CONCEPT)).noise
    u, p, s = step.predict(step.latents, EMPTY, PROMPT, CONCEPT)
    torch.testing.assert_close(noise, u + p - s)


@pytest.mark.parametrize(
    "settings", [{"preset": "hard"}, {"momentum": 1.0}, {"decay": -0.1}, {"warmup": -1}, {"scale": -1}, {"unit": 0}]
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError):
        SLD("weapons", **settings)


def test_the_warm_up_is_a_share_of_the_steps_that_the_call_takes():
    """Image to image begins behind it, and timesteps of the caller's own may be many where no noise is left."""
    late = toy_step(index=8, total=10)
    assert SLD("weapons", **{**EVERYTHING, "warmup": 0.3}).on_step(late, State(CONCEPT, passes=1)).acted.all()
    chosen = toy_step(index=1, total=30, done=0.5)
    assert (
        SLD("weapons", **{**EVERYTHING, "warmup": 0.3}).on_step(chosen, State(CONCEPT, passes=1, first=0)).acted.all()
    )
