"""The attention seam: every cross-attention projection goes through the guard, in every pass."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

import tiny
from closeness import same_bits
from small_guards import Identity, Mute
from stanchion import GuardBypassed, GuardFailed, GuardStack
from stanchion.pipeline.attach.guard_record import Record
from stanchion.pipeline.families import family_of
from stanchion.pipeline.families.base import Pass
from stanchion.pipeline.seams.attention import AttentionSeam


def muted(pipe):
    """The unguarded pipeline with silent cross-attention, made by hand."""
    for name, module in pipe.unet.named_modules():
        if name.endswith("attn2.to_v"):
            torch.nn.init.zeros_(module.weight)
    return tiny.draw(pipe)


def test_every_layer_is_guarded(pipe):
    guard = Mute()
    with guard.attach(pipe) as attachment:
        picture = tiny.draw(pipe)
        report = attachment.last.guards[0]
    layers = {name for name, _ in pipe.unet.named_modules() if name.endswith("attn2")}
    assert guard.layers == {(layer, "v") for layer in layers} and len(layers) == 4
    assert report.active_steps == (2,)
    assert same_bits(picture, muted(pipe))


def test_a_guards_own_predictions_are_guarded_too(pipe):
    with GuardStack(Mute(), Identity()).attach(pipe):
        picture = tiny.draw(pipe)
    assert same_bits(picture, muted(pipe))


def test_changing_nothing_changes_nothing(pipe):
    plain = tiny.draw(pipe)
    with Mute(factor=1.0, projections=("k", "v", "q")).attach(pipe):
        assert same_bits(tiny.draw(pipe), plain)


def test_another_processor_is_still_guarded(pipe):
    with Mute().attach(pipe):
        pipe.unet.set_attn_processor(AttnProcessor())
        picture = tiny.draw(pipe)
    torch.testing.assert_close(picture, muted(pipe))


def test_fused_projections_are_noticed(pipe):
    with Mute().attach(pipe):
        pipe.fuse_qkv_projections()
        with pytest.raises(GuardBypassed, match="fuse_qkv_projections"):
            tiny.draw(pipe)
        pipe.unfuse_qkv_projections()
        tiny.draw(pipe)


def test_broken_projections_make_no_picture(pipe):
    with Mute(factor=float("inf")).attach(pipe), pytest.raises(GuardFailed, match="to_v"):
        tiny.draw(pipe)


class Breaking(Mute):
    """Right at first; then one number of one layer's kept values is none."""

    projections = ("v", "q")

    def begin(self, call):
        self.kept, self.passes = {}, 0

    def project(self, layer, which, context, projected, state):
        if which == "v":
            return self.kept.setdefault(layer, projected.clone())
        self.passes += "mid" in layer
        if self.passes == 3 and "mid" in layer:
            self.kept[layer][0, -1, 0] = float("nan")
        return projected


def test_projections_that_break_later_make_no_picture(pipe):
    guard = Breaking()
    with guard.attach(pipe), pytest.raises(GuardFailed, match=r"mid.*to_v holds NaN"):
        tiny.draw(pipe, steps=4)
    assert guard.passes == 3


class Broken(Mute):
    """Right for the first text, in a new tensor; of the second one number of one layer is none."""

    def begin(self, call):
        self.texts = 0

    def project(self, layer, which, context, projected, state):
        self.texts += "mid" in layer
        result = projected.clone()
        if self.texts == 2 and "mid" in layer:
            result[0, -1, 0] = float("nan")
        return result


def louder(pipe, step, timestep, values):
    """Another text in the same tensor, from the third step on."""
    if step == 1:
        values["prompt_embeds"].mul_(2)
    return values


def test_projections_of_a_later_text_that_break_make_no_picture(pipe):
    guard = Broken()
    with guard.attach(pipe), pytest.raises(GuardFailed, match=r"mid.*to_v holds NaN"):
        tiny.draw(pipe, callback_on_step_end=louder, callback_on_step_end_tensor_inputs=["prompt_embeds"], steps=4)
    assert guard.texts == 2


class Counting(Mute):
    """Counts its texts, and how many rows of text the layer itself projects."""

    def begin(self, call):
        self.texts = []

    def project(self, layer, which, context, projected, state):
        self.texts.append(context)
        return projected


def test_a_text_is_projected_once_and_anew_where_it_changes(pipe):
    rows = []
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_v
    layer.register_forward_hook(lambda module, args, out: rows.append(out.shape[1]))

    guard = Counting()
    with guard.attach(pipe):
        tiny.draw(pipe, steps=4)
        assert len(guard.texts) == 4 and [count > 0 for count in rows] == [True, False, False, False]
        rows.clear()
        tiny.draw(pipe, callback_on_step_end=louder, callback_on_step_end_tensor_inputs=["prompt_embeds"], steps=4)
    assert len(guard.texts) == 8 and [count > 0 for count in rows] == [True, False, True, False]


def test_a_text_is_projected_anew_in_every_pass_that_has_gradients(pipe):
    context = torch.zeros(1, 77, pipe.unet.config.cross_attention_dim, requires_grad=True)
    guard = Counting()
    seam = AttentionSeam(family_of(pipe), [pipe.unet], [Record(guard, None)])
    sample = torch.zeros(1, pipe.unet.config.in_channels, 8, 8)
    with seam.hooked():
        for _ in range(2):
            with seam.watched(pipe.unet, Pass({})):
                out = pipe.unet(sample, torch.tensor(1), encoder_hidden_states=context).sample
            out.sum().backward()
    assert len(guard.texts) == 8 and context.grad is not None
