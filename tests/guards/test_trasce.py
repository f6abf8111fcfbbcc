"""TraSCE against the paper's algebra: on a toy denoiser where it can be written down, and on a real pipeline."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import tiny
from closeness import near, same_bits
from stanchion import Concept, ConfigError, TraSCE, load_guard
from stanchion.guards.sayings import Sayings
from stanchion.guards.trajectory._localised_loss import LocalisedLoss, pull
from stanchion.guards.trajectory.trasce import FITTED_TO, TEXT_TRIGGER, State
from stanchion.types import Condition, Step

SHAPE = (2, 4, 8, 8)
KERNELS = ("code", "paper")
THING = Concept("thing", "object", ("a thing",))
PROMPT, EMPTY, CONCEPT, NEGATIVE = (Condition(torch.tensor([[[value]]])) for value in (1.0, 0.0, 0.7, -0.4))


def denoise(latents, condition):
    """A smooth toy: nonlinear in x, different for each condition."""
    value = condition.embeds.reshape(-1, 1, 1, 1).to(latents)
    return torch.sin(latents * (1 + 0.3 * value)) + 0.1 * value * latents.roll(1, -1) ** 2


def toy_step(dtype=torch.float64, seed=0, **changes):
    latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    step = Step(
        index=0,
        substep=0,
        total=10,
        timestep=torch.tensor(500),
        alpha_bar=0.5,
        input_scale=1.0,
        noise_scale=1.0,
        latents=latents,
        guidance_scale=7.5,
        prompt=PROMPT,
        empty=EMPTY,
        negative=None,
        predict=lambda x, *conditions, rows=None: tuple(denoise(x, condition) for condition in conditions),
    )
    return replace(step, **changes)


def said_once(concept):
    return Sayings(concept, concept.embeds, concept.embeds[:0])


def steer(step, concept=CONCEPT, **settings):
    guard = TraSCE(THING, **{"form": "faithful", **settings})
    return guard, guard.on_step(step, State(said_once(concept), None))


def loss_value(loss, latents, step):
    """L of the module's docstring, at latents, written out; sum over pictures (each has its own)."""
    difference = (denoise(latents, PROMPT) - denoise(latents, CONCEPT)).flatten(1) * step.noise_scale
    sigma = loss.sigma * (latents[0].numel() / 16384) ** 0.5
    a = loss.a * latents[0].numel() / 16384
    distance = difference.norm(dim=1)
    exponent = distance / sigma if loss.kernel == "code" else distance**2 / (2 * sigma**2)
    return (-a * torch.exp(-exponent)).sum()


# --- 1.12 of the specification, 1 to 10 --------------------------------------------------------------


def test_1_a_prompt_equal_to_the_concept_gives_unconditional_sampling(pipe):
    guard = TraSCE(Concept("knife", "object", ("a photo of a knife",)), form="faithful")
    unconditional = tiny.draw(pipe, "", output_type="latent")
    with guard.attach(pipe):
        steered = tiny.draw(pipe, "a photo of a knife", output_type="latent")
    assert near(steered, unconditional)


def test_2_modified_minus_conventional_is_one_unit_of_empty_minus_concept():
    step = toy_step()
    _, guided = steer(step, localized=False)
    e, p, n = step.predict(step.latents, EMPTY, PROMPT, CONCEPT)
    conventional = n + step.guidance_scale * (p - n)
    torch.testing.assert_close(guided.noise - conventional, e - n)


STYLE = Concept("ink", "style", ("in ink style",), anchors=("in flat style",))


@pytest.mark.parametrize("negative", [None, NEGATIVE])
def test_2b_a_style_s_anchor_takes_its_place(negative):
    step, anchor = toy_step(negative=negative), Condition(torch.tensor([[[0.3]]]))
    guided = TraSCE(STYLE, when="always").on_step(step, State(said_once(CONCEPT), None, anchor))
    e, p, c, a = step.predict(step.latents, EMPTY, PROMPT, CONCEPT, anchor)
    own = e if negative is None else step.predict(step.latents, negative)[0]
    torch.testing.assert_close(guided.noise, own + step.guidance_scale * (p - own) - step.guidance_scale * (c - a))


def test_2c_only_a_style_that_is_served_fast_has_one_by_itself():
    forms = [TraSCE(STYLE), TraSCE(STYLE, form="faithful"), TraSCE(STYLE, anchored=False), TraSCE(THING)]
    assert [guard.anchor for guard in forms] == ["in flat style", "", "", ""]
    assert TraSCE(replace(THING, anchors=("a hat",)), anchored=True).anchor == "a hat"
    with pytest.raises(ConfigError, match="anchored is set, and 'thing' has no anchor phrase"):
        TraSCE(THING, anchored=True)


def test_2d_a_prompt_that_is_the_style_draws_the_anchor(pipe):
    guard = TraSCE(Concept("ink", "style", ("in ink style",), anchors=("in flat style",)), when="always")
    flat = tiny.draw(pipe, "in flat style", output_type="latent")
    with guard.attach(pipe):
        assert near(tiny.draw(pipe, "in ink style", output_type="latent"), flat, spread=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_3_the_shift_is_the_gradient_by_finite_differences(kernel):
    step = toy_step()
    guard, guided = steer(step, kernel=kernel, sigma=30.0)
    along = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    h = 1e-5
    rise = loss_value(guard.loss, step.latents + h * along, step) - loss_value(
        guard.loss, step.latents - h * along, step
    )
    expected = (guard.loss.b * rise / (2 * h)).item()
    assert ((step.latents - guided.latents) * along).sum().item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_3b_the_shift_brings_prompt_and_concept_together(kernel):
    step = toy_step()
    guard, guided = steer(step, kernel=kernel, sigma=30.0)

    def distance(latents):
        return (denoise(latents, PROMPT) - denoise(latents, CONCEPT)).flatten(1).norm(dim=1)

    small = step.latents + 1e-3 * (guided.latents - step.latents)
    assert (distance(small) < distance(step.latents)).all()
    assert guided.scores["strength"].gt(0).all() and guard.loss.b > 0


def test_4_a_batch_equals_singles():
    step = toy_step()
    _, together = steer(step, sigma=30.0)
    for place in range(2):
        _, alone = steer(replace(step, latents=step.latents[place : place + 1]), sigma=30.0)
        torch.testing.assert_close(together.noise[place : place + 1], alone.noise)
        torch.testing.assert_close(together.latents[place : place + 1], alone.latents)


def test_5_guidance_uses_the_predictions_from_before_the_shift():
    step = toy_step()
    _, moved = steer(step, sigma=30.0, step_size=5.0)
    _, stood = steer(step, localized=False)
    assert not same_bits(moved.latents, step.latents)
    torch.testing.assert_close(moved.noise, stood.noise)


def test_6_without_the_loss_it_is_the_modified_negative_prompt():
    step = toy_step()
    _, guided = steer(step, loss_scale=0.0)
    _, plain = steer(step, localized=False)
    assert same_bits(guided.latents, step.latents)
    torch.testing.assert_close(guided.noise, plain.noise)
    assert plain.latents is step.latents


def test_7_both_kernels_have_the_published_factor():
    """Table 1.4 of the specification: nudity, 16384 entries."""
    distance = torch.tensor([0.5, 1, 2, 4, 6, 8, 12])
    code = LocalisedLoss(1.5, 1.0, 2.0, "code").strength(distance)
    paper = LocalisedLoss(1.5, 1.0, 1.0, "paper").strength(distance)
    torch.testing.assert_close(code, torch.tensor([0.58, 0.46, 0.28, 0.10, 0.037, 0.014, 1.9e-3]), rtol=0.03, atol=0)
    torch.testing.assert_close(paper[:4], torch.tensor([0.66, 0.91, 0.41, 2e-3]), rtol=0.03, atol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_8_the_vector_jacobian_form_is_autograd_of_the_loss(kernel):
    step = toy_step(torch.float32)
    guard, guided = steer(step, kernel=kernel, sigma=30.0)
    latents = step.latents.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss_value(guard.loss, latents, step), latents)
    torch.testing.assert_close(step.latents - guided.latents, guard.loss.b * gradient, rtol=1e-4, atol=1e-6)


def test_9_the_initial_noise_is_the_unguarded_pipelines(pipe):
    starts = []

    def keep(module, args):
        starts.append(args[0][:1].clone())

    handle = pipe.unet.register_forward_pre_hook(keep)
    tiny.draw(pipe)
    first = starts[0]
    starts.clear()
    with TraSCE(tiny.weapons(), form="faithful").attach(pipe):
        tiny.draw(pipe)
    handle.remove()
    assert same_bits(starts[0], first)


def test_10_lazy_with_no_tolerance_is_faithful(pipe):
    pictures = []
    for tolerance in (0.0, 1e-12):
        with TraSCE(tiny.weapons(), form="faithful", lazy_tol=tolerance).attach(pipe):
            pictures.append(tiny.draw(pipe, ["a photo of a knife", "a cat"], output_type="latent"))
    assert (pictures[0] - pictures[1]).abs().max() < 1e-5


# --- fast --------------------------------------------------------------------------------------------


def test_fast_is_what_is_loaded_and_faithful_the_papers():
    assert not load_guard("trasce", "ink").localized
    assert load_guard("trasce", "ink", form="faithful").localized
    assert load_guard("trasce", "ink", localized=True, when="always").localized


def test_fast_leaves_a_prompt_that_is_far_from_the_concept_as_it_is(pipe):
    plain = tiny.draw(pipe, "a cat")
    with load_guard("trasce", tiny.weapons()).attach(pipe) as attachment:
        assert same_bits(tiny.draw(pipe, "a cat"), plain)
        assert not attachment.last.guards[0].active_steps[0]
        tiny.draw(pipe, "a knife")
        assert attachment.last.guards[0].active_steps[0]
    with load_guard("trasce", tiny.weapons(), form="faithful").attach(pipe):
        assert not same_bits(tiny.draw(pipe, "a cat"), plain)


@pytest.mark.parametrize(("offered", "asks"), [((), False), (TEXT_TRIGGER, False), (FITTED_TO, True)])
def test_fast_acts_always_where_its_trigger_cannot_read(offered, asks):
    fast, faithful = TraSCE("weapons"), TraSCE("weapons", form="faithful")
    assert fast.reads_prompt(offered) is asks and not faithful.reads_prompt(offered)
    assert "streams" not in fast.needs and "streams" in TraSCE("weapons", when="flagged").needs


# --- more of it --------------------------------------------------------------------------------------


def test_the_paper_sigma_is_that_of_the_code_under_the_square():
    assert TraSCE(THING, preset="nudity", kernel="paper").loss.sigma == pytest.approx(1.0)
    assert TraSCE(THING, kernel="paper").loss.sigma == pytest.approx(math.sqrt(0.5))
    assert TraSCE(THING, kernel="paper", sigma=0.3).loss.sigma == 0.3


@pytest.mark.parametrize(
    ("kind", "expected"), [("unsafe", (1.5, 1.0, 1.0)), ("style", (1.0, 1.0, 0.25)), ("object", (1.0, 1.0, 1.0))]
)
def test_the_preset_goes_by_the_kind_of_concept(kind, expected):
    loss = TraSCE(Concept("thing", kind, ("a thing",))).loss
    assert (loss.a, loss.b, loss.sigma) == expected


def test_a_step_of_sigma_scaled_latents_is_the_same_step():
    """x = x_VP / c; the shift is b / c^2 times the gradient by x, that is 1 / c times the one of x_VP."""
    plain = toy_step()
    c = 0.25
    scaled = replace(
        plain,
        latents=plain.latents / c,
        input_scale=c,
        predict=lambda x, *conditions, rows=None: tuple(denoise(c * x, condition) for condition in conditions),
    )
    _, first = steer(plain, sigma=30.0)
    _, second = steer(scaled, sigma=30.0)
    torch.testing.assert_close(second.latents * c, first.latents)
    torch.testing.assert_close(second.noise, first.noise)


def test_velocity_differences_count_as_noise():
    share = 0.36
    velocity = toy_step(noise_scale=share**0.5)
    guard, guided = steer(velocity, sigma=30.0)
    latents = velocity.latents.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss_value(guard.loss, latents, velocity), latents)
    torch.testing.assert_close(velocity.latents - guided.latents, guard.loss.b * gradient, rtol=1e-4, atol=1e-7)


def test_the_callers_negative_prompt_stays_what_it_is():
    step = toy_step(negative=NEGATIVE)
    _, guided = steer(step, localized=False)
    own, p, e, c = step.predict(step.latents, NEGATIVE, PROMPT, EMPTY, CONCEPT)
    torch.testing.assert_close(guided.noise, own + 7.5 * (p - own) - 7.5 * (c - e))


def test_equal_predictions_do_not_move_anything():
    _, guided = steer(toy_step(), concept=PROMPT)
    assert same_bits(guided.latents, guided.latents.nan_to_num())
    torch.testing.assert_close(guided.latents, toy_step().latents, rtol=1e-6, atol=1e-6)


def test_the_pull_survives_half_precision():
    latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    pulls = []
    for dtype in (torch.float32, torch.bfloat16):
        x = latents.to(dtype).requires_grad_(True)
        pulls.append(pull(x, denoise(x, PROMPT), denoise(x, CONCEPT)))
    cosine = torch.nn.functional.cosine_similarity(*(value.flatten() for value in pulls), dim=0)
    assert cosine > 0.99


def test_a_loss_that_matters_again_is_taken_up_without_gradients_around():
    """As in a call of the pipeline, where gradients are off."""
    step, guard = toy_step(), TraSCE(THING, form="faithful")
    with torch.no_grad():
        first = guard.on_step(step, State(said_once(CONCEPT), None))
        again = guard.on_step(step, State(said_once(CONCEPT), None, expect_shift=False))
    assert (first.latents != step.latents).any()
    assert torch.allclose(first.latents, again.latents)


def test_lazy_skips_the_gradient_where_it_is_weak_and_takes_it_up_again():
    graphs = []

    def predict(x, *conditions, rows=None):
        graphs.append(x.requires_grad)
        return tuple(denoise(x, condition) for condition in conditions)

    guard = TraSCE(THING, form="faithful", sigma=0.01, lazy_tol=1e-3)
    state = State(said_once(CONCEPT), None)
    far = toy_step(predict=predict, latents=toy_step().latents[:1])
    assert guard.on_step(far, state).latents is far.latents  # expected a shift, found none
    assert guard.on_step(far, state).latents is far.latents
    near = replace(far, prompt=CONCEPT, latents=far.latents * 1.0)
    guard.on_step(near, state)  # distance 0: without a graph first, then with one
    guard.on_step(near, state)
    assert graphs == [True, False, False, True, True]


@pytest.mark.parametrize("settings", [{"sigma": 0.0}, {"lazy_tol": -1.0}, {"looks": 0}, {"kernel": "cod"}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError):
        TraSCE("weapons", **settings)


def test_an_unknown_setting_names_a_known_one():
    with pytest.raises(ConfigError, match="lazy_tol"):
        TraSCE("weapons", lazy_tl=1e-3)
