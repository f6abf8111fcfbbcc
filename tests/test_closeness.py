"""The bounds of the tests: wide enough for any processor's kernels, far below what a guard does."""

from __future__ import annotations

import pytest

import tiny
from closeness import SPREAD, difference, near, same_bits, within_a_level
from other_kernels import RoundsByShape

PROMPTS = ["a photo of a knife", "a cat", "a dog and a tree", "a red car"]


@pytest.mark.parametrize("output_type", ["pt", "latent"])
def test_the_unguarded_pipelines_rows_keep_to_the_spread(output_type, pipe):
    """Alone and in batches. Where this fails it is the machine that rounds more coarsely, not a guard that errs."""
    alone = tiny.draw(pipe, PROMPTS[:1], output_type=output_type)
    for count in (2, 3, 4):
        assert difference(tiny.draw(pipe, PROMPTS[:count], output_type=output_type)[:1], alone) < 10 * SPREAD


def test_the_same_call_gives_the_same_bits(pipe):
    assert same_bits(*(tiny.draw(pipe, PROMPTS[:2]) for _ in range(2)))


def test_another_prompt_is_not_near(pipe):
    one, other = tiny.draw(pipe, PROMPTS[0]), tiny.draw(pipe, PROMPTS[1])
    assert not near(one, other) and not within_a_level(255 * one, 255 * other)


def test_kernels_that_round_by_shape_tell_batches_apart(pipe):
    """The control of ``--rounding``: a batch of four changes its first row, and a call repeats."""
    with RoundsByShape(1e-3):
        alone, again = (tiny.draw(pipe, PROMPTS[:1], steps=1, output_type="latent") for _ in range(2))
        four = tiny.draw(pipe, PROMPTS, steps=1, output_type="latent")
    assert same_bits(alone, again) and not same_bits(four[:1], alone)
    assert not near(alone, tiny.draw(pipe, PROMPTS[:1], steps=1, output_type="latent"))
