"""The decode seam: no pixels without the decoder guard."""

from __future__ import annotations

import pytest
import torch

import tiny
from closeness import same_bits
from small_guards import Grey, Half
from stanchion import GuardBypassed, GuardFailed, GuardStack, UnsupportedPipeline
from stanchion.types import Decoded


def test_the_guard_decides_what_is_decoded(pipe):
    plain = tiny.draw(pipe, ["a knife", "a cat"])
    latents = tiny.draw(pipe, ["a knife", "a cat"], output_type="latent") / pipe.vae.config.scaling_factor
    means = latents.flatten(1).mean(1)
    with Grey(limit=means.mean().item()).attach(pipe) as attachment:
        pictures = tiny.draw(pipe, ["a knife", "a cat"])
        acted = attachment.last.guards[0].acted
    assert acted == tuple((means > means.mean()).tolist())
    for picture, original, unsafe in zip(pictures, plain, acted, strict=True):
        assert same_bits(picture, torch.full_like(picture, 0.5) if unsafe else original)


def test_guards_go_round_one_another(pipe):
    with GuardStack(Grey(limit=1e9), Grey()).attach(pipe) as attachment:
        assert (tiny.draw(pipe) == 0.5).all()
        assert [report.acted for report in attachment.last.guards] == [(False,), (True,)]


def test_latents_are_not_handed_out(pipe):
    with Grey().attach(pipe), pytest.raises(UnsupportedPipeline, match="latent"):
        tiny.draw(pipe, output_type="latent")
    with Half().attach(pipe):
        tiny.draw(pipe, output_type="latent")


def test_decoding_outside_a_call_raises(pipe):
    latents = torch.zeros(1, 4, 8, 8)
    with Grey().attach(pipe), pytest.raises(GuardBypassed, match="decoder"):
        pipe.vae.decode(latents)
    with Half().attach(pipe):
        pipe.vae.decode(latents)  # no guard of this pipeline sits there
    pipe.vae.decode(latents)


def test_a_picture_that_was_never_decoded_is_refused(pipe):
    guard = Grey()
    guard.decode = lambda latents, decode, state: Decoded(torch.zeros(1, 3, 16, 16), torch.ones(1))
    with guard.attach(pipe), pytest.raises(GuardFailed, match="without decoding"):
        tiny.draw(pipe)
