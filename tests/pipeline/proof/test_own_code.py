"""Replaced methods: hooks and modules are in place, and yet other code would run."""

from __future__ import annotations

import types

import accelerate
import pytest
import torch
from diffusers.hooks import HookRegistry, ModelHook

import tiny
from small_guards import Grey, Half, Identity, Mute, Zero
from stanchion import GuardBypassed
from stanchion.pipeline.proof.own_code import OwnCode

GUARDS = {
    "text": lambda pipe: Half(),
    "attention": lambda pipe: Mute(),
    "trajectory": lambda pipe: Identity(),
    "decoder": lambda pipe: Grey(),
    "weights": lambda pipe: Zero(pipe, "unet.conv_in.bias"),
}
at_every_stage = pytest.mark.parametrize("stage", GUARDS)


@at_every_stage
@pytest.mark.parametrize("path", ["unet.forward", "unet.mid_block.forward", "vae.decode", "vae.decoder.forward"])
def test_a_method_of_another_model_raises(path, stage, pipe):
    path, _, method = path.rpartition(".")
    other = tiny.pipeline(seed=1)
    own, foreign = (_at(one, path) for one in (pipe, other))
    with GUARDS[stage](pipe).attach(pipe):
        setattr(own, method, getattr(foreign, method))
        with pytest.raises(GuardBypassed, match=rf"pipe\.{path}\.{method} was replaced"):
            tiny.draw(pipe)
        delattr(own, method)
        tiny.draw(pipe)


def test_a_method_swapped_between_two_steps_raises(pipe):
    other = tiny.pipeline(seed=1)

    def swap(pipeline, index, timestep, values):
        pipeline.unet.forward = other.unet.forward

    with Identity().attach(pipe), pytest.raises(GuardBypassed, match=r"unet\.forward was replaced"):
        tiny.draw(pipe, callback_on_step_end=swap)


def test_a_decoder_that_is_gone_round_before_the_guard_came_raises(pipe):
    pipe.vae.decode = tiny.pipeline(seed=1).vae.decode
    with Grey().attach(pipe), pytest.raises(GuardBypassed, match="without the VAE's own decoder"):
        tiny.draw(pipe)


def test_hooks_of_accelerate_and_diffusers_come_and_go(pipe):
    code = OwnCode({"unet": pipe.unet}, type(pipe))
    for part in (pipe.unet, pipe.unet.mid_block):
        accelerate.hooks.add_hook_to_module(part, accelerate.hooks.ModelHook())
    HookRegistry.check_if_exists_or_initialize(pipe.unet).register_hook(ModelHook(), "test")
    code.check()
    HookRegistry.check_if_exists_or_initialize(pipe.unet).remove_hook("test")
    accelerate.hooks.remove_hook_from_module(pipe.unet, recurse=True)
    code.check()


def test_torch_hooks_of_libraries_come_and_go(pipe):
    code = OwnCode({"text_encoder": pipe.text_encoder}, type(pipe))
    pipe.text_encoder(torch.zeros(1, 3, dtype=torch.long), output_hidden_states=True)
    assert any(part._forward_hooks for part in pipe.text_encoder.modules())  # transformers': it notes what to return
    code.check()
    pipe.text_encoder.register_forward_hook(lambda module, args, output: output)
    with pytest.raises(GuardBypassed, match=r"a hook was put on pipe\.text_encoder"):
        code.check()


def test_what_lies_under_a_hook_counts(pipe):
    code, stock = OwnCode({"unet": pipe.unet}, type(pipe)), pipe.unet.forward
    pipe.unet.forward = lambda *args, **kwargs: stock(*args, **kwargs)
    accelerate.hooks.add_hook_to_module(pipe.unet, accelerate.hooks.ModelHook())
    with pytest.raises(GuardBypassed, match=r"unet\.forward was replaced"):
        code.check()


def test_what_stood_there_when_the_guard_came_stays(pipe):
    pipe.unet.forward = types.MethodType(
        lambda self, *args, **kwargs: type(self).forward(self, *args, **kwargs), pipe.unet
    )
    with Identity().attach(pipe):
        tiny.draw(pipe)


def test_weights_that_were_gone_round_are_no_act_of_a_guard(pipe):
    """Fused projections are copies from before the guard: its own are in place, and nobody reads them."""
    pipe.fuse_qkv_projections()
    key = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight"
    with Zero(pipe, key).attach(pipe), pytest.raises(GuardBypassed, match="had no part in the picture"):
        tiny.draw(pipe)


def test_a_weight_guard_says_whether_its_weights_ran(pipe):
    prompt, negative = pipe.encode_prompt("a cat", "cpu", 1, True)
    with Zero(pipe, "text_encoder.final_layer_norm.bias").attach(pipe) as attachment:
        _, report = attachment.call("a cat", num_inference_steps=2)
        assert report.acted == (True,)
        embeds = {"prompt_embeds": prompt, "negative_prompt_embeds": negative}
        _, report = attachment.call(**embeds, num_inference_steps=2)
        assert report.acted == (False,)


def _at(pipe, path):
    root, _, rest = path.partition(".")
    return getattr(pipe, root).get_submodule(rest)


def test_it_does_not_hold_back_what_moves_a_module(pipe):
    with Identity().attach(pipe):
        stock = pipe.unet.to
        pipe.unet.to = lambda *args, **kwargs: stock(*args, **kwargs)  # as accelerate does, to warn
        assert torch.isfinite(tiny.draw(pipe)).all()
