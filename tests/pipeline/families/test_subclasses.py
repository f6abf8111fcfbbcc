"""Subclasses of known pipelines: guarded where they are that pipeline to a guard, else refused with the method."""

from __future__ import annotations

import diffusers
import pytest

import tiny
from closeness import near, same_bits
from small_guards import Half, Identity
from stanchion import UnsupportedPipeline
from stanchion.pipeline.families import family_of


class Named(diffusers.StableDiffusionPipeline):
    """Somebody's own, with something new in it."""

    house_style = "in ink"
    drawn = 0

    def prepare_latents(self, *args, **kwargs):
        self.drawn += 1
        return super().prepare_latents(*args, **kwargs)


class Turned(diffusers.StableDiffusionPipeline):
    """Reads another prompt than it is given."""

    def encode_prompt(self, prompt, *args, **kwargs):
        return super().encode_prompt("a dog", *args, **kwargs)


class Loop(Named):
    """Denoises in a way of its own, two classes down."""

    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)


class Mixin:
    """Overrides from the side."""

    @property
    def guidance_scale(self):
        return 1.0


class Mixed(Mixin, diffusers.StableDiffusionPipeline):
    """Takes the mixin's property."""


def made(kind):
    pipe = kind(**tiny.parts())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_a_subclass_that_overrides_nothing_of_weight_is_guarded_as_its_base():
    pipe, stock = made(Named), tiny.pipeline()
    assert family_of(pipe) is family_of(stock)
    plain = tiny.draw(stock, steps=4)
    with Identity().attach(pipe) as attachment:
        assert same_bits(tiny.draw(pipe, steps=4), plain)
        assert attachment.last.steps == 4 and pipe.drawn == 1
    with Half().attach(pipe):
        assert not near(tiny.draw(pipe, steps=4), plain)
    assert type(pipe) is Named and same_bits(tiny.draw(pipe, steps=4), plain)


@pytest.mark.parametrize(("kind", "method"), [(Turned, "encode_prompt"), (Loop, "__call__"), (Mixed, "guidance_scale")])
def test_a_subclass_that_overrides_what_guards_rely_on_is_refused_with_its_name(kind, method):
    with pytest.raises(UnsupportedPipeline, match=f"overrides {method} of StableDiffusionPipeline"):
        Identity().attach(made(kind))
