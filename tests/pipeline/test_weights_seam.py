"""The weights seam: the right base, no overlap, the originals back bit for bit."""

from __future__ import annotations

import pytest
import torch

import tiny
from closeness import near, same_bits
from small_guards import Zero
from stanchion import ArtefactError, ConfigError, GuardBypassed, GuardStack

KEY, OTHER, DECODER = "unet.conv_in.weight", "unet.conv_in.bias", "vae.decoder.conv_out.bias"


def test_weights_are_put_in_and_back(pipe):
    original = pipe.unet.conv_in.weight.detach().clone()
    plain = tiny.draw(pipe)
    with Zero(pipe, KEY, DECODER).attach(pipe) as attachment:
        assert not pipe.unet.conv_in.weight.any() and not pipe.vae.decoder.conv_out.bias.any()
        assert not near(tiny.draw(pipe), plain)
        assert attachment.last.guards[0].acted == (True,)
    assert same_bits(pipe.unet.conv_in.weight, original)
    assert same_bits(tiny.draw(pipe), plain)


def test_another_base_is_refused(pipe):
    guard = Zero(pipe, KEY)
    other = tiny.pipeline(seed=1)
    with pytest.raises(ArtefactError, match="other weights"):
        guard.attach(other)
    assert other.unet.conv_in.weight.any() and type(other).__mro__[1] is not type(pipe)


def test_half_precision_of_the_same_base_is_accepted(pipe):
    guard = Zero(pipe, KEY)
    half = tiny.pipeline(dtype=torch.float16)
    with guard.attach(half):
        assert not half.unet.conv_in.weight.any()


def test_another_shape_and_a_missing_weight_are_refused(pipe):
    guard = Zero(pipe, KEY)
    guard.tensors[KEY] = torch.zeros(3)
    with pytest.raises(ArtefactError, match="another model"):
        guard.attach(pipe)
    guard.tensors = {"unet.nowhere.weight": torch.zeros(3)}
    with pytest.raises(ArtefactError, match="nowhere"):
        guard.attach(pipe)


def test_overlapping_guards_are_refused_and_leave_nothing(pipe):
    original = pipe.unet.conv_in.weight.detach().clone()
    with pytest.raises(ConfigError, match="both replace"):
        GuardStack(Zero(pipe, KEY, OTHER), Zero(pipe, KEY)).attach(pipe)
    assert same_bits(pipe.unet.conv_in.weight, original)
    with GuardStack(Zero(pipe, KEY), Zero(pipe, OTHER)).attach(pipe):
        assert not pipe.unet.conv_in.bias.any()


def test_weights_changed_later_are_noticed(pipe):
    with Zero(pipe, KEY).attach(pipe):
        with torch.no_grad():
            pipe.unet.conv_in.weight.add_(1.0)
        with pytest.raises(GuardBypassed, match="changed"):
            tiny.draw(pipe)


def test_a_cast_pipeline_is_still_guarded(pipe):
    with Zero(pipe, KEY).attach(pipe):
        pipe.to(torch.float16)
        assert tiny.draw(pipe, output_type="latent").dtype is torch.float16
