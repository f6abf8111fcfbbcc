"""The step seam: a guard that changes nothing changes nothing, whatever the pipeline does around it."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from closeness import same_bits
from small_guards import Failing, Fixed, Identity
from stanchion import GuardBypassed, GuardFailed, TraSCE, UnsupportedPipeline

SCHEDULERS = (
    "DDIMScheduler",
    "PNDMScheduler",
    "DDPMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "DEISMultistepScheduler",
)
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # KDPM2's own, under NumPy 2
every_scheduler = pytest.mark.parametrize("name", SCHEDULERS)
PROMPTS = ["a photo of a knife", "a cat"]


def use(pipe, name):
    pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config)


def same_with_identity(pipe, prompt=PROMPTS, **options):
    plain = tiny.draw(pipe, prompt, **options)
    guard = Identity()
    with guard.attach(pipe):
        assert same_bits(tiny.draw(pipe, prompt, **options), plain)
    return guard


# --- an identity guard changes nothing ---------------------------------------------------------------


@every_scheduler
def test_with_every_scheduler(name, pipe):
    use(pipe, name)
    guard = same_with_identity(pipe, steps=5, eta=0.3)
    indices = [step.index for step in guard.steps]
    assert indices == sorted(indices) and indices[0] == 0
    assert guard.steps[-1].index == guard.steps[-1].total - 1
    assert [step.substep for step in guard.steps].count(0) == guard.steps[0].total
    assert all(0 < step.alpha_bar < 1 for step in guard.steps)


@pytest.mark.parametrize(
    "options",
    [
        {"guidance_scale": 1.0},
        {"guidance_scale": 0.0},
        {"guidance_scale": 12.0},
        {"guidance_rescale": 0.7},
        {"negative_prompt": ["blurry", "a dog"]},
        {"negative_prompt": ["", ""]},
        {"num_images_per_prompt": 2},
        {"timesteps": [900, 500, 100]},
    ],
    ids=lambda options: next(iter(options.items())).__str__(),
)
def test_with_every_option(options, pipe):
    if "timesteps" in options:
        use(pipe, "EulerDiscreteScheduler")
    plain = tiny.draw(pipe, PROMPTS, **options)
    with Identity().attach(pipe):
        assert (tiny.draw(pipe, PROMPTS, **options) - plain).abs().max() < 1e-5


def test_with_velocity_prediction():
    pipe = tiny.pipeline(prediction_type="v_prediction")
    guard = same_with_identity(pipe)
    assert all(step.noise_scale == pytest.approx(step.alpha_bar**0.5) for step in guard.steps)


def test_with_embeddings_instead_of_prompts(pipe):
    prompt, negative = pipe.encode_prompt(PROMPTS, "cpu", 1, True)
    same_with_identity(pipe, None, prompt_embeds=prompt, negative_prompt_embeds=negative)


def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8))


def test_image_to_image_starts_in_the_middle_of_the_schedule():
    guard = same_with_identity(tiny.pipeline("image"), "a cat", image=picture(), strength=0.5, steps=6)
    assert [step.index for step in guard.steps] == [3, 4, 5]
    assert guard.steps[0].total == 6


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("guard", [Identity(), TraSCE(tiny.weapons(), lazy_tol=1e-9)], ids=["identity", "trasce"])
def test_inpainting(channels, guard):
    pipe = tiny.pipeline("inpaint", in_channels=channels)
    options = {"image": picture(), "mask_image": Image.new("L", (tiny.SIZE, tiny.SIZE), 255), "strength": 0.8}
    options |= {"height": tiny.SIZE, "width": tiny.SIZE, "steps": 5}
    plain = tiny.draw(pipe, "a knife", **options)
    with guard.attach(pipe):
        assert same_bits(tiny.draw(pipe, "a knife", **options), plain) is isinstance(guard, Identity)


def test_a_callback_may_change_latents_and_prompt(pipe):
    def halve(pipeline, index, timestep, values):
        return {"latents": values["latents"] * 0.9, "prompt_embeds": values["prompt_embeds"] * 0.5}

    same_with_identity(
        pipe, callback_on_step_end=halve, callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"]
    )


def test_a_callback_may_switch_guidance_off(pipe):
    def cut(pipeline, index, timestep, values):
        pipeline._guidance_scale = 0.0
        return {"prompt_embeds": values["prompt_embeds"][-1:]}

    guard = same_with_identity(
        pipe, "a cat", callback_on_step_end=cut, callback_on_step_end_tensor_inputs=["prompt_embeds"]
    )
    assert [step.guidance_scale for step in guard.steps] == [7.5, 1.0]


# --- what a guard decides is what happens ------------------------------------------------------------


@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 7.5])
def test_the_scheduler_gets_exactly_the_guided_prediction(guidance_scale, pipe):
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    seen = []
    step = pipe.scheduler.step
    pipe.scheduler.step = lambda output, *args, **kwargs: seen.append(output.clone()) or step(output, *args, **kwargs)
    with Fixed(noise=noise).attach(pipe):
        tiny.draw(pipe, guidance_scale=guidance_scale, steps=4)
    assert all(same_bits(output, noise) for output in seen) and len(seen) == 4


def test_guidance_rescale_applies_to_the_guided_prediction(pipe):
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    seen = []
    step = pipe.scheduler.step
    pipe.scheduler.step = lambda output, *args, **kwargs: seen.append(output.clone()) or step(output, *args, **kwargs)
    guard = Fixed(noise=noise)
    with guard.attach(pipe):
        tiny.draw(pipe, guidance_rescale=0.7, steps=1)
        prompt = pipe.encode_prompt("a photo of a cat", "cpu", 1, False)[0]
    first = guard.steps[0]
    handles, pipe.scheduler.step = pipe.unet(first.latents, first.timestep, prompt).sample, step
    torch.testing.assert_close(seen[0], rescale_noise_cfg(noise, handles, 0.7), rtol=1e-4, atol=1e-5)


@every_scheduler
def test_the_scheduler_steps_from_the_moved_latents(name, pipe):
    use(pipe, name)
    moved = torch.full((1, 4, 8, 8), 0.25)
    seen = []
    step = pipe.scheduler.step

    def watch(output, timestep, sample, **kwargs):
        seen.append(sample.clone())
        return step(output, timestep, sample, **{key: kwargs[key] for key in ("return_dict",)})

    pipe.scheduler.step = watch
    with Fixed(latents=moved).attach(pipe):
        tiny.draw(pipe, steps=4)
    assert all(same_bits(sample, moved) for sample in seen)


def test_a_negative_prompt_that_says_nothing_is_none(pipe):
    guard = Identity()
    with guard.attach(pipe):
        tiny.draw(pipe, negative_prompt="")
        assert guard.steps[0].negative is None
        tiny.draw(pipe, negative_prompt="blurry")
        assert guard.steps[0].negative is not None
        tiny.draw(pipe, guidance_scale=1.0, negative_prompt="blurry")
        assert guard.steps[0].negative is None


@every_scheduler
def test_the_latents_have_the_noise_that_alpha_bar_says(name, pipe):
    """From the true noise and x_0 = 0, the denoiser's input has variance 1 - alpha_bar at the first step."""
    use(pipe, name)
    guard = Identity()
    with guard.attach(pipe):
        tiny.draw(pipe, ["a cat"] * 8, steps=5)
    first = guard.steps[0]
    spread = (first.latents * first.input_scale).var().item()
    assert spread == pytest.approx(1.0, abs=0.1)
    sigma = ((1 - first.alpha_bar) / first.alpha_bar) ** 0.5
    expected = (1 + sigma**2) ** -0.5 if pipe.scheduler.init_noise_sigma > 1.5 else 1.0
    assert first.input_scale == pytest.approx(float(expected), rel=1e-3)


def test_the_gradient_reaches_the_unscaled_latents(pipe):
    """Under the caller's inference mode, with frozen weights, and by the chain rule of the scheduler's scaling."""
    use(pipe, "EulerDiscreteScheduler")
    asked = []

    class Asking(Identity):
        def on_step(self, step, state):
            x = step.latents.detach().requires_grad_(True)
            with torch.enable_grad():
                (p,) = step.predict(x, step.prompt)
            assert not any(parameter.requires_grad for parameter in pipe.unet.parameters())
            asked.append((step, torch.autograd.grad(p, x, torch.ones_like(p))[0]))
            return super().on_step(step, state)

    with Asking().attach(pipe), torch.inference_mode():
        tiny.draw(pipe, steps=2)
    for step, gradient in asked:
        scaled = (step.latents * step.input_scale).requires_grad_(True)
        output = pipe.unet(scaled, step.timestep, step.prompt.embeds).sample
        (expected,) = torch.autograd.grad(output.sum(), scaled)
        torch.testing.assert_close(gradient, expected * step.input_scale, rtol=1e-4, atol=1e-6)


# --- failures fail closed ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["noise", "latents"])
def test_nan_and_infinity_make_no_picture(value, field, pipe):
    guard = Fixed(**{field: torch.full((1, 4, 8, 8), value)})
    with guard.attach(pipe) as attachment:
        with pytest.raises(GuardFailed, match="NaN"):
            tiny.draw(pipe)
        assert attachment.last is None


def test_a_wrong_shape_makes_no_picture(pipe):
    class Wrong(Identity):
        def on_step(self, step, state):
            result = super().on_step(step, state)
            return type(result)(result.noise[:, :3], result.latents, result.acted)

    with Wrong().attach(pipe), pytest.raises(GuardFailed, match=r"\(1, 3, 8, 8\)"):
        tiny.draw(pipe)


def test_a_guard_that_raises_leaves_the_pipeline_as_it_was(pipe):
    plain = tiny.draw(pipe)
    with Failing().attach(pipe):
        with pytest.raises(GuardFailed, match="on purpose") as caught:
            tiny.draw(pipe)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert all(parameter.requires_grad for parameter in pipe.unet.parameters())
    assert same_bits(tiny.draw(pipe), plain)


def test_a_broken_model_makes_no_picture(pipe):
    with torch.no_grad():
        pipe.unet.conv_out.bias.fill_(float("nan"))
    with TraSCE(tiny.weapons()).attach(pipe), pytest.raises(GuardFailed, match="NaN"):
        tiny.draw(pipe)


def test_no_step_is_no_picture():
    pipe = tiny.pipeline("image")
    with Identity().attach(pipe), pytest.raises((GuardBypassed, RuntimeError, ValueError, IndexError)):
        tiny.draw(pipe, "a cat", image=picture(), strength=0.01)


def test_an_interrupted_call_was_guarded_as_far_as_it_went(pipe):
    def stop(pipeline, index, timestep, values):
        pipeline._interrupt = index == 1
        return values

    guard = Identity()
    with guard.attach(pipe) as attachment:
        tiny.draw(pipe, callback_on_step_end=stop, steps=4)
        assert (attachment.last.steps, attachment.last.total) == (2, 4)


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [("FlowMatchEulerDiscreteScheduler", {}), ("DDIMScheduler", {"prediction_type": "sample"})],
)
def test_schedules_that_no_guard_can_read_are_refused(scheduler, options, pipe):
    with Identity().attach(pipe):
        pipe.scheduler = getattr(diffusers, scheduler)(**options)
        with pytest.raises(UnsupportedPipeline):
            tiny.draw(pipe)
