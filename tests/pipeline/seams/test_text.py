"""The text seam: every prompt is steered once, and nothing else reaches the denoiser."""

from __future__ import annotations

import pytest
import torch

import tiny
from closeness import near, same_bits
from small_guards import Half, Identity, Mute
from stanchion import GuardBypassed, GuardFailed, GuardStack, TraSCE

PROMPTS = ["a photo of a knife", "a cat"]


def halved(pipe, prompts=PROMPTS, **options):
    """The unguarded pipeline's picture of halved states, made by hand."""
    prompt, negative = pipe.encode_prompt(prompts, "cpu", 1, True)
    return tiny.draw(pipe, None, prompt_embeds=prompt * 0.5, negative_prompt_embeds=negative, **options)


def test_prompts_are_steered_once(pipe):
    expected = halved(pipe)
    with Half().attach(pipe) as attachment:
        assert same_bits(tiny.draw(pipe, PROMPTS), expected)
        report = attachment.last.guards[0]
    assert report.acted == (True, True) and report.active_steps == (1, 1)


def test_embeddings_passed_in_are_steered_once(pipe):
    expected = halved(pipe)
    prompt, negative = pipe.encode_prompt(PROMPTS, "cpu", 1, True)
    guard = Half()
    with guard.attach(pipe):
        assert same_bits(pipe.encode_prompt(PROMPTS, "cpu", 1, True)[0], prompt)  # outside a call: as ever
        assert same_bits(tiny.draw(pipe, None, prompt_embeds=prompt, negative_prompt_embeds=negative), expected)
    assert [view.role for view in guard.seen] == ["prompt", "negative"]
    assert guard.seen[0].texts is None and guard.seen[0].token_ids is None


def test_the_guard_sees_tokens_and_texts(pipe):
    guard = Half()
    with guard.attach(pipe):
        tiny.draw(pipe, ["a knife", "a big red cat"], num_images_per_prompt=2)
    prompt, negative = guard.seen
    assert prompt.texts == ("a knife", "a knife", "a big red cat", "a big red cat")
    assert prompt.content.sum(1).tolist() == [2, 2, 4, 4]
    words = pipe.tokenizer.batch_decode([ids[mask] for ids, mask in zip(prompt.token_ids, prompt.content, strict=True)])
    assert [word.strip() for word in words] == list(prompt.texts)
    assert negative.texts == ("",) * 4 and negative.content.sum() == 0


@pytest.mark.parametrize("until", [0.0, 0.5])
def test_steering_may_end_before_the_schedule(until, pipe):
    plain = tiny.draw(pipe, PROMPTS)
    with Half(until=until).attach(pipe):
        steered = tiny.draw(pipe, PROMPTS)
    assert same_bits(steered, plain) is (until == 0.0)
    assert not near(steered, halved(pipe))


def test_without_guidance_only_the_prompt_is_steered(pipe):
    expected = halved(pipe, guidance_scale=1.0)
    with Half().attach(pipe):
        assert same_bits(tiny.draw(pipe, PROMPTS, guidance_scale=1.0), expected)


def test_a_concept_is_not_steered(pipe):
    """In a stack, a text guard must not erase the concept that the trajectory guard steers away from."""
    concept = TraSCE("weapons").concept
    plain = pipe.encode_prompt(concept.text, "cpu", 1, False)[0]
    guard = Identity()
    with GuardStack(Half(), guard).attach(pipe), pytest.warns(UserWarning, match="cut off"):
        begin = guard.begin
        encoded = []
        guard.begin = lambda call: encoded.append(call.encode([concept.text, concept.text * 9])) or begin(call)
        tiny.draw(pipe)
    assert near(encoded[0].embeds[0], plain[0])  # read in another batch


def test_a_callback_that_changes_the_prompt_is_noticed(pipe):
    def swap(pipeline, index, timestep, values):
        return {"prompt_embeds": torch.randn_like(values["prompt_embeds"])}

    with Half().attach(pipe), pytest.raises(GuardBypassed, match="prompt_embeds"):
        tiny.draw(pipe, callback_on_step_end=swap, callback_on_step_end_tensor_inputs=["prompt_embeds"])


def test_a_callback_that_encodes_a_new_prompt_gets_it_steered(pipe):
    def swap(pipeline, index, timestep, values):
        prompt, negative = pipeline.encode_prompt("a knife", "cpu", 1, True)
        return {"prompt_embeds": torch.cat([negative, prompt])}

    guard = Half()
    with guard.attach(pipe):
        tiny.draw(pipe, callback_on_step_end=swap, callback_on_step_end_tensor_inputs=["prompt_embeds"], steps=4)
    assert [view.texts for view in guard.seen[::2]] == [("a photo of a cat",)] + [("a knife",)] * 4


def test_broken_states_make_no_picture(pipe):
    with Half(factor=float("nan")).attach(pipe), pytest.raises(GuardFailed, match="steered prompt"):
        tiny.draw(pipe)


# --- nothing but the values, in the role that they were let through for ------------------------------


def callback(change):
    """What draws with a callback that changes the prompt's states after the first step."""

    def at_end(pipeline, index, timestep, values):
        changed = change(pipeline, values["prompt_embeds"]) if index == 0 else None
        return changed or {}

    return {"callback_on_step_end": at_end, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}


def in_place(pipeline, states):
    states.copy_(torch.randn_like(states))


def past_the_version(pipeline, states):
    states.data.copy_(torch.randn_like(states))


def louder(pipeline, states):
    states.data.mul_(3)


@pytest.mark.parametrize("guidance_scale", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("write", [in_place, past_the_version])
def test_writing_to_the_states_is_noticed(write, guidance_scale, pipe):
    with Half().attach(pipe), pytest.raises(GuardBypassed, match="no text guard has seen"):
        tiny.draw(pipe, guidance_scale=guidance_scale, **callback(write))


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_writing_to_states_that_a_guard_left_alone_is_noticed(factor, pipe):
    """The guard gave back the very tensor that it was given."""
    prompt = pipe.encode_prompt("a cat", "cpu", 1, False)[0]
    with Half(factor=factor).attach(pipe), pytest.raises(GuardBypassed, match="no text guard has seen"):
        tiny.draw(pipe, None, prompt_embeds=prompt, guidance_scale=1.0, **callback(in_place))


def test_an_attention_guard_reads_what_was_written(pipe):
    """Projections of the text are kept from step to step, but not those of another text."""
    plain = tiny.draw(pipe, guidance_scale=1.0, **callback(louder))
    with Mute(factor=1.0).attach(pipe):
        assert same_bits(tiny.draw(pipe, guidance_scale=1.0, **callback(louder)), plain)


def flipped(pipeline, states):
    return {"prompt_embeds": states.flip(0)}


def first_half_alone(pipeline, states):
    pipeline._guidance_scale = 1.0
    return {"prompt_embeds": states.chunk(2)[0]}


def twice_the_first_half(pipeline, states):
    return {"prompt_embeds": states.chunk(2)[0].repeat(2, 1, 1)}


def twice_the_second_half(pipeline, states):
    return {"prompt_embeds": states.chunk(2)[1].repeat(2, 1, 1)}


@pytest.mark.parametrize("change", [flipped, first_half_alone, twice_the_first_half, twice_the_second_half])
def test_states_count_in_their_own_role_only(change, pipe):
    with Half().attach(pipe), pytest.raises(GuardBypassed, match="in the place of"):
        tiny.draw(pipe, "a cat", negative_prompt="a knife", **callback(change))


def test_guidance_may_end_with_the_prompt(pipe):
    def second_half_alone(pipeline, states):
        pipeline._guidance_scale = 1.0
        return {"prompt_embeds": states.chunk(2)[1]}

    with Half().attach(pipe) as attachment:
        tiny.draw(pipe, "a cat", negative_prompt="a knife", **callback(second_half_alone))
        assert attachment.last.acted == (True,)


def test_a_text_beside_states_says_nothing_about_them(pipe):
    """encode_prompt takes both, and encodes the states only."""
    knife = pipe.encode_prompt("a photo of a knife", "cpu", 1, False)[0]

    def both(pipeline, states):
        prompt, negative = pipeline.encode_prompt("a cat", "cpu", 1, True, prompt_embeds=knife)
        return {"prompt_embeds": torch.cat([negative, prompt])}

    guard = Half()
    with guard.attach(pipe):
        tiny.draw(pipe, "a cat", **callback(both))
    late = [view for view in guard.seen if view.role == "prompt"][1]
    assert same_bits(late.embeds, knife) and late.texts is None and late.content is None


def test_states_of_another_type_raise_as_others_do(pipe):
    with Half().attach(pipe), pytest.raises(GuardBypassed, match="no text guard has seen"):
        tiny.draw(pipe, **callback(lambda pipeline, states: {"prompt_embeds": states.double()}))


def another_pipelines(pipe):
    return tiny.pipeline(seed=1).encode_prompt


def more_than_was_asked(pipe):
    own = pipe.encode_prompt
    return lambda prompt, *args, **kwargs: own(f"{prompt} and a knife", *args, **kwargs)


@pytest.mark.parametrize("guard", [Half, Mute, Identity])
@pytest.mark.parametrize("other", [another_pipelines, more_than_was_asked])
def test_another_encode_prompt_raises(other, guard, pipe):
    with guard().attach(pipe):
        pipe.encode_prompt = other(pipe)
        with pytest.raises(GuardBypassed, match="encode_prompt was replaced"):
            tiny.draw(pipe, "a cat")
        del pipe.encode_prompt
        tiny.draw(pipe, "a cat")
