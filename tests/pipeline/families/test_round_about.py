"""What a guard takes for granted, and a caller may twist: the empty prompt, caches, compiled blocks, counts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from diffusers import FirstBlockCacheConfig

import tiny_families
from closeness import near, same_bits
from small_guards import Half, Identity, Mute
from stanchion.guards.sayings import Sayings
from stanchion.guards.triggers import _rows
from stanchion.pipeline.families import family_of
from stanchion.pipeline.model.text_streams import same
from stanchion.types import Condition
from tiny_families.guards import guard as made

XL, FLUX = "StableDiffusionXLPipeline", "FluxPipeline"


@pytest.mark.parametrize("kind", ["StableDiffusionPipeline", XL])
def test_what_a_callback_puts_in_the_negative_half_is_not_the_empty_prompt(kind):
    """A guard that falls back to it would draw the prompt."""

    def twist(pipe, index, timestep, values):
        prompt = values["prompt_embeds"].chunk(2)[1]
        return {"prompt_embeds": torch.cat([prompt, prompt])}

    pipe, guard = tiny_families.pipeline(kind), Identity()
    with guard.attach(pipe):
        tiny_families.draw(pipe, ["a knife"], negative_prompt=None, callback_on_step_end=twist,
                           callback_on_step_end_tensor_inputs=["prompt_embeds"])  # fmt: skip
    before, after = guard.steps
    assert before.negative is None and same_bits(after.negative.embeds, after.prompt.embeds)
    assert not near(after.empty.embeds, after.prompt.embeds)


def _last_word(values):
    values["negative_prompt_embeds"][0][-1] *= -1


def _the_prompt_s(values):
    return {"negative_prompt_embeds": values["prompt_embeds"]}


@pytest.mark.parametrize("twist", [_last_word, _the_prompt_s])
def test_nor_is_it_where_states_are_a_list(twist):
    """Z-Image's pipelines repeat them behind ``encode_prompt``, one copy a picture."""
    pipe, guard = tiny_families.pipeline("ZImagePipeline"), Identity()
    given = {"callback_on_step_end_tensor_inputs": ["prompt_embeds", "negative_prompt_embeds"]}
    with guard.attach(pipe):
        tiny_families.draw(
            pipe,
            ["a knife"],
            num_images_per_prompt=2,
            callback_on_step_end=lambda pipe, index, timestep, values: twist(values) or {},
            **given,
        )
    before, after = guard.steps
    assert before.negative is None and len(before.empty.embeds) == 2
    assert after.negative is not None and not same(after.negative.embeds, before.empty.embeds)
    assert near(after.empty.embeds[0], before.empty.embeds[0])


def test_a_cache_keeps_nothing_of_a_call_that_was_broken_off():
    def break_off(*args):
        raise KeyError("on purpose")

    pipe = tiny_families.fresh(FLUX)
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=1e9))
    with Half().attach(pipe):
        usual = tiny_families.draw(pipe, ["a knife"], steps=1)
    with pytest.raises(KeyError):
        tiny_families.draw(pipe, ["a knife"], callback_on_step_end=break_off)
    with Half().attach(pipe):
        assert same_bits(tiny_families.draw(pipe, ["a knife"], steps=1), usual)


@pytest.mark.parametrize("kind", [XL, FLUX])
def test_blocks_may_be_compiled_once_a_guard_is_there(kind):
    """Regional compilation: an adapter in every block acts as it does without."""
    pipe = tiny_families.fresh(kind)
    plain = tiny_families.draw(pipe)
    with made("forceforget", pipe).attach(pipe) as attachment:
        usual = tiny_families.draw(pipe)
        getattr(pipe, family_of(pipe).denoisers[0]).compile_repeated_blocks(backend="eager")
        assert near(tiny_families.draw(pipe), usual) and not near(usual, plain)
    assert all(attachment.last.acted)
    assert near(tiny_families.draw(pipe), plain)


@pytest.mark.parametrize("guard", [Half, Mute])
def test_what_a_callback_encodes_is_no_picture_of_the_call(guard):
    def encode(pipe, index, timestep, values):
        pipe.encode_prompt(["a cat", "a dog"], do_classifier_free_guidance=True)
        return {}

    pipe = tiny_families.pipeline(XL)
    with guard().attach(pipe) as attachment:
        tiny_families.draw(pipe, ["a knife"], callback_on_step_end=encode)
    assert attachment.last.acted == (True,)


def test_a_condition_keeps_what_stands_beside_its_states():
    states, vectors = torch.randn(2, 3, 4), torch.randn(2, 5)
    one, other = _rows(Condition(states, {"text_embeds": vectors, "mask": None}))
    assert same_bits(one.extra["text_embeds"], vectors[:1]) and same_bits(other.extra["text_embeds"], vectors[1:])
    assert other.extra["mask"] is None


def test_a_prompt_that_is_no_repetition_gets_the_concepts_own_vector():
    once, more = torch.zeros(1, 3, 4), torch.ones(1, 3, 4)
    sayings = Sayings(Condition(once, {"text_embeds": torch.zeros(1, 5)}), once, more)
    prompts = SimpleNamespace(
        embeds=torch.stack([more[0], 9 + once[0]]), extra={"text_embeds": torch.full((2, 5), 7.0)}
    )
    heard = sayings.heard_in(prompts)
    assert heard.extra["text_embeds"][:, 0].tolist() == [7.0, 0.0]
