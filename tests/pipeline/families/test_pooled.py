"""Pooled vectors: no prompt that a text guard changes goes past it in one, and what nobody reads is refused."""

from __future__ import annotations

import pytest
import torch

import tiny_families
from closeness import near, same_bits
from small_guards import Half, Identity
from stanchion import GuardBypassed, UnsupportedPipeline

KIND = "StableDiffusionXLPipeline"


class Wary(Half):
    """Erases the states of prompts that name a knife, and says so."""

    name = "wary"

    def steer(self, embeds, state):
        steered = super().steer(embeds, state)
        found = torch.tensor([bool(embeds.texts) and "knife" in text for text in embeds.texts])
        return type(steered)(torch.where(found[:, None, None], 0.0, embeds.embeds), found)


@pytest.fixture
def pipe():
    return tiny_families.pipeline(KIND)


@pytest.fixture
def seen(pipe):
    """The pooled vectors that the denoiser reads, pass by pass; who looks stands there before a guard comes."""
    found = []
    hook = pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: found.append(kwargs["added_cond_kwargs"]["text_embeds"]), with_kwargs=True
    )
    yield found
    hook.remove()


def pooled_of(pipe, seen, *prompts):
    """Those of the prompts, without guidance's other half."""
    seen.clear()
    tiny_families.draw(pipe, list(prompts), steps=1)
    return seen[0].chunk(2)[1]


def test_a_prompt_that_is_changed_brings_the_empty_prompts_vector(pipe, seen):
    plain = pooled_of(pipe, seen, "a cat", "a knife", "")
    with Wary().attach(pipe):
        cat, knife, _ = pooled_of(pipe, seen, "a cat", "a knife", "")
    assert same_bits(cat, plain[0])
    assert near(knife, plain[2]) and not near(knife, plain[1])


def test_a_callback_can_not_bring_it_back(pipe, seen):
    plain = pooled_of(pipe, seen, "a knife")

    def bring_back(pipeline, index, timestep, values):
        values["add_text_embeds"][1:] = plain
        return {"add_text_embeds": values["add_text_embeds"]}

    callback = {"callback_on_step_end": bring_back, "callback_on_step_end_tensor_inputs": ["add_text_embeds"]}
    with Wary().attach(pipe), pytest.raises(GuardBypassed, match="pooled vector"):
        tiny_families.draw(pipe, ["a knife"], **callback)


def test_a_second_prompt_that_the_guard_would_not_read_is_refused(pipe):
    with Wary().attach(pipe):
        with pytest.raises(UnsupportedPipeline, match="prompt_2 is given"):
            tiny_families.draw(pipe, ["a cat"], prompt_2=["a knife"])
        tiny_families.draw(pipe, ["a cat"], prompt_2=["a cat"])
    with Wary().attach(pipe, cover="partial"):
        tiny_families.draw(pipe, ["a cat"], prompt_2=["a knife"])


def test_vectors_of_the_callers_own_are_refused(pipe):
    states, negative, pooled, negative_pooled = pipe.encode_prompt("a cat", negative_prompt="bad")
    given = {"prompt_embeds": states, "negative_prompt_embeds": negative, "pooled_prompt_embeds": pooled}
    given |= {"negative_pooled_prompt_embeds": negative_pooled, "num_inference_steps": 1, "height": 32, "width": 32}
    with Half().attach(pipe), pytest.raises(UnsupportedPipeline, match="pooled_prompt_embeds is given"):
        pipe(**given)
    with Half().attach(pipe, cover="partial"):
        pipe(**given)


def test_without_guidance_a_trajectory_guard_refuses_the_call(pipe):
    with Identity().attach(pipe), pytest.raises(UnsupportedPipeline, match="draws without guidance"):
        tiny_families.draw(pipe, guidance_scale=1.0)
