"""Models that are built out of a guarded denoiser's weights: the hook would stay behind."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers.models.controlnets.controlnet_xs import ControlNetXSAdapter, UNetControlNetXSModel

from closeness import same_bits
from small_guards import Grey, Identity
from stanchion import GuardBypassed


def _motion():
    return diffusers.MotionAdapter(
        block_out_channels=(16, 32), motion_layers_per_block=1, motion_num_attention_heads=2, motion_norm_num_groups=8
    )


def _animated(pipe):
    parts = {name: getattr(pipe, name) for name in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")}
    return diffusers.AnimateDiffPipeline(**parts, motion_adapter=_motion())


def _animated_from_pipe(pipe):
    return diffusers.AnimateDiffPipeline.from_pipe(pipe, motion_adapter=_motion())


def _controlled(pipe):
    other = type(pipe.unet).from_config(pipe.unet.config)
    adapter = ControlNetXSAdapter.from_unet(other, size_ratio=0.5, num_attention_heads=2)
    return UNetControlNetXSModel.from_unet(pipe.unet, adapter)


def _control_net(pipe):
    return diffusers.ControlNetModel.from_unet(pipe.unet, conditioning_channels=3)


WAYS = [_animated, _animated_from_pipe, _controlled, _control_net]


@pytest.mark.parametrize("build", WAYS)
def test_a_denoiser_rebuilt_from_the_weights_is_refused(build, pipe):
    if build is _controlled:  # it knows blocks of two layers only
        pipe.unet = type(pipe.unet).from_config({**pipe.unet.config, "layers_per_block": 2})
    with Identity().attach(pipe), pytest.raises(GuardBypassed, match="detach first"):
        build(pipe)
    build(pipe)


def test_the_parts_of_a_guarded_decoder_are_kept_together(pipe):
    with Grey().attach(pipe), pytest.raises(GuardBypassed, match="guarded decoder"):
        pipe.vae.decoder.conv_in.state_dict()
    pipe.vae.decoder.conv_in.state_dict()


def test_the_whole_can_be_read_and_saved(pipe):
    stock = pipe.unet.state_dict()
    with Identity().attach(pipe):
        assert all(same_bits(value, stock[key]) for key, value in pipe.unet.state_dict().items())
        assert len(torch.nn.ModuleDict({"unet": pipe.unet}).state_dict()) == len(stock)
