"""Calls that few make and stock pipelines take: a guard draws what they draw, or says what is in its way."""

from __future__ import annotations

import pytest
import torch

import tiny_families
from closeness import near, same_bits
from small_guards import Grey, Half, Identity, Mute
from stanchion import SAFREE, GuardStack, TraSCE, UnsupportedPipeline
from stanchion.types import Flagged, Guided
from tiny_families.guards import KNIVES
from tiny_families.guards import guard as made

Z_IMAGE = "ZImagePipeline"
ROUNDING = 4e-5


def _flux_states(pipe):
    (states, pooled, _), (negative, beside, _) = (
        pipe.encode_prompt(text, None, max_sequence_length=32) for text in ("a knife", "bad")
    )
    given = {"prompt_embeds": states, "pooled_prompt_embeds": pooled}
    return {**given, "negative_prompt_embeds": negative, "negative_pooled_prompt_embeds": beside}


def _wan_states(pipe):
    states, negative = pipe.encode_prompt("a knife", "bad", max_sequence_length=32)
    return {"prompt_embeds": states, "negative_prompt_embeds": negative}


OF_STATES = [
    ("FluxPipeline", _flux_states, "num_images_per_prompt"),
    ("FluxKontextPipeline", _flux_states, "num_images_per_prompt"),
    ("WanPipeline", _wan_states, "num_videos_per_prompt"),
]


@pytest.mark.parametrize(("kind", "states", "count"), OF_STATES, ids=lambda value: getattr(value, "__name__", value))
def test_several_pictures_of_states_that_were_passed_in(kind, states, count):
    """These pipelines leave it to their denoiser to spread the one row over all pictures."""
    pipe = tiny_families.pipeline(kind)
    tiny = tiny_families.TINY[kind]
    usual = {name: value() if callable(value) else value for name, value in tiny.options.items()}

    def draw():
        call = {**usual, **states(pipe), count: 2, "num_inference_steps": 2, "output_type": "np"}
        output = pipe(prompt=None, generator=torch.Generator().manual_seed(0), **call)
        return torch.as_tensor(output.frames if hasattr(output, "frames") else output.images)

    plain = draw()
    with Identity().attach(pipe) as attachment:
        torch.testing.assert_close(draw(), plain, rtol=0, atol=ROUNDING)
        assert len(attachment.last.acted) == len(plain) == 2
    with Half().attach(pipe, cover="partial") as attachment:
        assert not near(draw(), plain) and attachment.last.acted == (True, True)


def test_a_negative_prompt_may_be_a_list_of_states():
    pipe = tiny_families.pipeline(Z_IMAGE)
    (negative,), _ = pipe.encode_prompt(["bad"], do_classifier_free_guidance=False)
    guard = Identity()
    with guard.attach(pipe):
        tiny_families.draw(pipe, ["a knife"], negative_prompt_embeds=[negative])
    assert same_bits(guard.steps[0].negative.embeds[0], negative)


def test_a_trigger_looks_anew_at_a_list_of_states_only_where_it_changed():
    pipe, looked = tiny_families.pipeline(Z_IMAGE), []
    guard = TraSCE(KNIVES, when="flagged", trigger="noise", threshold=-1.0, looks=1)
    pipe.transformer.register_forward_pre_hook(lambda module, args: looked.append(len(args[0])))
    with guard.attach(pipe) as attachment:
        tiny_families.draw(pipe, ["a knife"], steps=3)
    pipe.transformer._forward_pre_hooks.clear()
    assert attachment.last.guards[0].active_steps == (3,)
    assert looked[0] > max(looked[2:])  # the trigger's pass stands before the first step's own


class SomeOfThem(Mute):
    """Mutes the second picture alone."""

    name = "some_of_them"
    projections = ("k", "v")

    def flags(self, prompts, state):
        second = torch.arange(len(prompts)) == 1
        return Flagged(second, second.float())


class OneByOne(Identity):
    """Predicts for each picture by itself."""

    name = "one_by_one"

    def on_step(self, step, state):
        drawn = super().on_step(step, state).noise.clone()
        for row in torch.arange(len(step.latents))[:, None]:
            own, p = step.predict(step.latents[row], step.negative or step.empty, step.prompt, rows=row)
            drawn[row] = own + step.guidance_scale * (p - own)
        return Guided(drawn, step.latents, torch.ones(len(drawn), dtype=torch.bool))


@pytest.mark.parametrize("kind", [Z_IMAGE, "FluxPipeline"])
def test_an_attention_guard_knows_its_pictures_in_a_pass_of_some(kind):
    pipe, prompts = tiny_families.pipeline(kind), ["a knife", "a knife"]
    plain = tiny_families.draw(pipe, prompts)
    with GuardStack(SomeOfThem(), OneByOne()).attach(pipe):
        picture = tiny_families.draw(pipe, prompts)
    torch.testing.assert_close(picture[0], plain[0], rtol=0, atol=ROUNDING)
    assert not near(picture[1], plain[1])
    with SomeOfThem().attach(pipe) as attachment:
        torch.testing.assert_close(tiny_families.draw(pipe, prompts), picture, rtol=0, atol=ROUNDING)
    assert attachment.last.acted == (False, True)


def test_latents_need_no_vae():
    pipe = tiny_families.fresh("FluxPipeline")
    pipe.vae = None
    with made("esd", pipe).attach(pipe) as attachment:
        tiny_families.draw(pipe, output_type="latent")
    assert all(attachment.last.acted)
    with pytest.raises(UnsupportedPipeline, match="has no VAE"):
        Grey().attach(pipe)


@pytest.mark.parametrize("kind", ["FluxPipeline", "WanPipeline"])
@pytest.mark.filterwarnings("ignore:the guard's text:UserWarning")
def test_a_window_without_room_for_a_word_is_named(kind):
    pipe = tiny_families.pipeline(kind)
    with SAFREE(KNIVES).attach(pipe), pytest.raises(UnsupportedPipeline, match="max_sequence_length"):
        tiny_families.draw(pipe, max_sequence_length=1)


def test_guidance_rescale_that_is_an_argument_alone():
    pipe = tiny_families.pipeline("StableDiffusionXLControlNetInpaintPipeline")
    plain, rescaled = (tiny_families.draw(pipe, guidance_rescale=share) for share in (0.0, 0.7))
    with Identity().attach(pipe):
        torch.testing.assert_close(tiny_families.draw(pipe, guidance_rescale=0.7), rescaled, rtol=0, atol=ROUNDING)
    assert not near(plain, rescaled)
