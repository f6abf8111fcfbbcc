"""The output seam: no picture is handed over that the output guard did not look at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from closeness import same_bits
from small_guards import Veil
from stanchion import GuardFailed, GuardStack, UnsupportedPipeline
from stanchion.types import Checked

PROMPTS = ["a knife", "a cat"]


def arrays(images):
    """Pictures of any form as (B, H, W, 3) in [0, 1]."""
    if isinstance(images, torch.Tensor):
        return images.movedim(1, -1)
    return torch.from_numpy(np.stack([np.asarray(image, np.float32) for image in images])) / (
        255 if isinstance(images, list) else 1
    )


@pytest.mark.parametrize("form", ["pil", "np", "pt"])
def test_what_it_changes_is_changed_in_every_form_and_the_rest_stays_bit_for_bit(pipe, form):
    plain = tiny.draw(pipe, PROMPTS, output_type=form)
    with Veil(places=(1,)).attach(pipe) as attachment:
        drawn = tiny.draw(pipe, PROMPTS, output_type=form)
        (report,) = attachment.last.guards
    assert type(drawn) is type(plain)
    assert same_bits(arrays(drawn)[0], arrays(plain)[0])
    assert (arrays(drawn)[1] == 1).all()
    assert report.stage == "output" and report.acted == (False, True)


def test_it_sees_the_pictures_that_a_caller_would_get(pipe):
    plain = tiny.draw(pipe, PROMPTS, output_type="pil")
    with (guard := Veil(places=())).attach(pipe):
        tiny.draw(pipe, PROMPTS, output_type="pt")
    assert [picture.tobytes() for picture in guard.seen] == [picture.tobytes() for picture in plain]


def test_a_tuple_is_looked_at_too(pipe):
    with Veil().attach(pipe):
        images, flags = pipe("a cat", num_inference_steps=2, output_type="np", return_dict=False)
    assert (images == 1).all() and flags is None


def test_guards_go_one_behind_the_other(pipe):
    first, second = Veil(places=(0,)), Veil(places=())
    with GuardStack(first, second).attach(pipe) as attachment:
        tiny.draw(pipe, PROMPTS)
        assert [report.acted for report in attachment.last.guards] == [(True, False), (False, False)]
    assert second.seen[0].getpixel((0, 0)) == (255, 255, 255)
    assert second.seen[1] is first.seen[1]


def test_latents_are_not_handed_out(pipe):
    with Veil().attach(pipe), pytest.raises(UnsupportedPipeline, match="output guard never sees"):
        tiny.draw(pipe, output_type="latent")


SMALL = Image.new("RGB", (3, 3))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Checked([], torch.ones(0)), "sizes"),
        (Checked([SMALL], torch.ones(1)), "sizes"),
        (Checked([Image.new("RGB", (16, 16))], torch.ones(2)), "who was touched"),
        (None, "failed"),
    ],
)
def test_an_answer_that_makes_no_sense_leaves_no_picture(pipe, answer, message):
    guard = Veil()
    guard.check = lambda pictures, state: answer
    with guard.attach(pipe), pytest.raises(GuardFailed, match=message):
        tiny.draw(pipe)
