"""Conditions beside the text: known and guarded, or refused."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig

import tiny
from closeness import near
from small_guards import Half, Identity, Mute
from stanchion import GuardBypassed, UnsupportedPipeline

GLIGEN = {"boxes": torch.zeros(2, 1, 4), "positive_embeddings": torch.zeros(2, 1, 32), "masks": torch.ones(2, 1)}


@pytest.mark.parametrize("guard", [Half, Mute, Identity])
def test_phrases_of_gligen_are_refused(guard, pipe):
    with guard().attach(pipe):
        with pytest.raises(UnsupportedPipeline, match="'gligen'"):
            tiny.draw(pipe, cross_attention_kwargs={"gligen": GLIGEN})
        tiny.draw(pipe, cross_attention_kwargs={"scale": 1.0})


@pytest.mark.parametrize("guard", [Half, Mute, Identity])
def test_phrases_that_a_callback_brings_in_are_refused(guard, pipe):
    def bring(pipeline, index, timestep, values):
        pipeline._cross_attention_kwargs = {"gligen": GLIGEN}
        return {}

    with guard().attach(pipe), pytest.raises(UnsupportedPipeline, match="'gligen'"):
        tiny.draw(pipe, callback_on_step_end=bring)


def test_an_input_of_the_denoiser_that_no_seam_knows_is_refused(pipe):
    """As a patched pipeline would give it."""
    states = pipe.encode_prompt("a cat", "cpu", 1, False)[0]

    def patch(pipeline, index, timestep, values):
        pipeline.unet(values["latents"], timestep, states, class_labels=torch.zeros(1), return_dict=False)

    with Identity().attach(pipe), pytest.raises(UnsupportedPipeline, match="class_labels"):
        tiny.draw(pipe, guidance_scale=1.0, callback_on_step_end=patch)


def _lora(pipe):
    torch.manual_seed(0)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["attn2.to_k", "attn2.to_v"], init_lora_weights=False))


def _write(pipe):
    for name, parameter in pipe.unet.named_parameters():
        if "lora_B" in name:
            parameter.data.mul_(3.0)


def _scale(pipe):
    pipe.unet.set_adapters(["default"], [3.0])


def _switch_off(pipe):
    pipe.unet.disable_adapters()


@pytest.mark.parametrize("change", [_write, _scale, _switch_off])
def test_an_adapter_changed_between_two_steps_is_projected_anew(change, pipe):
    """An attention guard that changes nothing draws what the stock pipeline draws."""
    _lora(pipe)

    def callback(pipeline, index, timestep, values):
        if index == 1:
            change(pipeline)
        return {}

    state = {key: value.clone() for key, value in pipe.unet.state_dict().items()}
    unchanged = tiny.draw(pipe, steps=4)
    plain = tiny.draw(pipe, callback_on_step_end=callback, steps=4)
    pipe.unet.load_state_dict(state)
    pipe.unet.enable_adapters()
    pipe.unet.set_adapters(["default"], [1.0])
    with Mute(factor=1.0).attach(pipe):
        guarded = tiny.draw(pipe, callback_on_step_end=callback, steps=4)
    assert not near(plain, unchanged)
    torch.testing.assert_close(guarded, plain)


def test_an_adapter_loaded_between_two_steps_raises(pipe):
    def load(pipeline, index, timestep, values):
        if index == 1:
            _lora(pipeline)
        return {}

    with Mute().attach(pipe), pytest.raises(GuardBypassed, match="in the middle of a call"):
        tiny.draw(pipe, callback_on_step_end=load, steps=4)
