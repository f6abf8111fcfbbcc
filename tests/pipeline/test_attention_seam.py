"""The attention seam: every cross-attention projection goes through the guard, in every pass."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

import tiny
from small_guards import Identity, Mute
from stanchion import GuardBypassed, GuardFailed, GuardStack


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
    assert report.active_steps == (4,)
    assert torch.equal(picture, muted(pipe))


def test_a_guards_own_predictions_are_guarded_too(pipe):
    with GuardStack(Mute(), Identity()).attach(pipe):
        picture = tiny.draw(pipe)
    assert torch.equal(picture, muted(pipe))


def test_changing_nothing_changes_nothing(pipe):
    plain = tiny.draw(pipe)
    with Mute(factor=1.0, projections=("k", "v", "q")).attach(pipe):
        assert torch.equal(tiny.draw(pipe), plain)


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
    """Right at first; then one number of one layer is none, in a new tensor or in the one that it kept."""

    kept: dict | None = None
    at = 3

    def project(self, layer, which, context, projected, state):
        self.passes = getattr(self, "passes", {})
        self.passes[layer] = self.passes.get(layer, 0) + 1
        result = projected.clone()
        if self.kept is not None:
            result = self.kept.setdefault(layer, result)
        if self.passes[layer] == self.at and "mid" in layer:
            result[0, -1, 0] = float("nan")
        return result


@pytest.mark.parametrize("kept", [None, {}])
def test_projections_that_break_later_make_no_picture(pipe, kept):
    guard = Breaking(kept=kept)
    with guard.attach(pipe), pytest.raises(GuardFailed, match=r"mid.*to_v holds NaN"):
        tiny.draw(pipe)
    assert max(guard.passes.values()) == guard.at
