"""SAFREE: its projectors and triggers on toys where they are known, and its place in a real pipeline."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from closeness import near, same_bits
from stanchion import SAFREE, Concept, ConfigError, UnsupportedPipeline
from stanchion.guards.sayings import Sayings
from stanchion.guards.text.safree import PRESETS, Known, State, active_steps, projector, trigger_tokens
from stanchion.pipeline.model.encoding import Encoding
from stanchion.streams import TextStream
from stanchion.types import Condition, PromptEmbeds

KNIFE = Concept("knife", "object", ("a knife", "a blade"))
WIDTH, LENGTH, NEUTRAL, END = 16, 10, 9, 15


class OrthogonalEncoder:
    """A text encoder whose token k has the state e_k, and whose end holds the mean of all tokens' states."""

    def read_ids(self, ids: torch.Tensor, stream: TextStream) -> torch.Tensor:
        states = torch.eye(WIDTH)[ids]
        for row, tokens in zip(states, ids, strict=True):
            last = int((tokens == END).nonzero()[0])
            row[last:] = torch.eye(WIDTH)[tokens[1:last]].mean(0) if last > 1 else 0.0
        return states

    def words(self, ids: torch.Tensor, stream: TextStream) -> str:
        return " ".join(str(int(token)) for token in ids)


def toy(*tokens: int, **settings: Any) -> tuple[SAFREE, PromptEmbeds, State]:
    """A prompt of some tokens; the concept is token 1."""
    ids = torch.tensor([[0, *tokens, *[END] * (LENGTH - 1 - len(tokens))]])
    content = torch.zeros_like(ids, dtype=torch.bool)
    content[:, 1 : 1 + len(tokens)] = True
    call = OrthogonalEncoder()
    said = torch.eye(WIDTH)[1].expand(1, LENGTH, -1)
    once = Sayings(Condition(said), said, said[:0])
    known = Known(projector(torch.eye(WIDTH)[1:2], 1), torch.tensor([NEUTRAL]), said[0])
    state = State(call, once, (known,))
    return (
        SAFREE(KNIFE, **{"preset": "published", **settings}),
        PromptEmbeds(call.read_ids(ids, TextStream()), ids, content, ("toy",)),
        state,
    )


# --- chapter 2 of the specification, 1 to 6 ----------------------------------------------------------


def test_1_the_projector_is_one_also_with_a_phrase_twice():
    rows = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    twice = projector(torch.cat([rows, rows[:1]]), 5)
    torch.testing.assert_close(twice, twice.T)
    torch.testing.assert_close(twice @ twice, twice, atol=1e-5, rtol=0)
    assert twice.trace().item() == pytest.approx(4, abs=1e-4)
    torch.testing.assert_close(rows @ twice, rows, atol=1e-4, rtol=0)
    assert projector(rows, 2).trace().item() == pytest.approx(2, abs=1e-4)


def test_2_the_token_along_the_concept_is_the_only_trigger():
    guard, embeds, state = toy(3, 4, 1, 5)
    result = guard.steer(embeds, state)
    assert result.details[0]["triggers"] == ["1"] and result.acted.tolist() == [True]
    assert (result.embeds[0, 3] @ state.streams[0].concept).norm() < 1e-5


def test_3_every_other_position_is_bit_equal():
    guard, embeds, state = toy(3, 4, 1, 5)
    steered = guard.steer(embeds, state).embeds
    others = [place for place in range(LENGTH) if place != 3]
    assert same_bits(steered[:, others], embeds.embeds[:, others])
    assert not near(steered[:, 3], embeds.embeds[:, 3])


@pytest.mark.parametrize(("beta", "n"), [(0.0, 0), (0.5333, 5), (1.0, 10)])
def test_4_the_filter_says_how_many_steps(beta, n):
    assert active_steps(beta, PRESETS["published"][1]) == n


@pytest.mark.parametrize(("steps", "expected"), [(50, 11), (20, 5)])
def test_4b_steps_0_to_n_read_the_new_states(pipe, steps, expected):
    """n = 10 of 50; the same share of another schedule."""
    seen = []
    forward = pipe.unet.forward
    pipe.unet.forward = lambda *args, **kwargs: seen.append(kwargs["encoder_hidden_states"]) or forward(*args, **kwargs)
    with SAFREE(KNIFE, preset="published", midpoint=-100.0).attach(pipe):
        tiny.draw(pipe, "a photo of a knife", steps=steps)
    assert [same_bits(context, seen[0]) for context in seen] == [True] * expected + [False] * (steps - expected)
    assert all(same_bits(context, seen[-1]) for context in seen[expected:])


def test_5_no_token_passes_and_a_single_one_is_a_trigger():
    guard, embeds, state = toy()
    empty = guard.steer(embeds, state)
    assert same_bits(empty.embeds, embeds.embeds) and not empty.acted.any()
    guard, embeds, state = toy(4)
    assert guard.steer(embeds, state).details[0]["triggers"] == ["4"]


def test_5b_a_prompt_that_fills_the_context(pipe):
    with SAFREE(KNIFE).attach(pipe):
        assert tiny.draw(pipe, "a knife and " * 40).isfinite().all()


@pytest.mark.parametrize("midpoint", [-100.0, 2.0])
def test_5c_two_prompts_equal_two_single_runs(pipe, midpoint):
    """Each with its own number of steps."""
    prompts = ["a photo of a knife", "a cat"]
    with SAFREE(KNIFE, midpoint=midpoint).attach(pipe):
        together = tiny.draw(pipe, prompts)
        alone = torch.cat([tiny.draw(pipe, prompt, seed=place) for place, prompt in enumerate(prompts)])
    assert (together - alone).abs().max() < 1e-4


def test_6_a_concept_that_no_token_brings_changes_nothing():
    guard, embeds, state = toy(3, 4, 5)
    result = guard.steer(embeds, state)
    assert same_bits(result.embeds, embeds.embeds) and not result.acted.any()


# --- beyond it ---------------------------------------------------------------------------------------


def test_equally_toxic_tokens_are_no_triggers():
    pooled = torch.eye(WIDTH)[2:6]
    apart = torch.eye(4, dtype=torch.bool)
    assert not trigger_tokens(pooled, apart, projector(torch.eye(WIDTH)[1:2], 1), 0.01).any()


@pytest.mark.parametrize("tokens", [(1, 1), (3, 1, 1, 4), (3, 1, 4, 1, 5, 1), (1, 1, 1, 1, 1, 1, 1, 1)])
def test_a_word_said_again_is_left_out_everywhere_and_found_everywhere(tokens):
    guard, embeds, state = toy(*tokens)
    result = guard.steer(embeds, state)
    assert result.details[0]["triggers"] == ["1"] * tokens.count(1)
    there = [place for place, token in enumerate(tokens, 1) if token == 1]
    assert (result.embeds[0, there] @ state.streams[0].concept).norm() < 1e-5


@pytest.mark.parametrize("prompt", ["a knife a knife", "a blade " * 7, "knife knife knife"])
def test_a_prompt_that_only_repeats_a_phrase_is_drawn_as_the_empty_one(pipe, prompt):
    unguarded, empty = tiny.draw(pipe, prompt), tiny.draw(pipe, "")
    with SAFREE(KNIFE).attach(pipe) as attached:
        guarded = tiny.draw(pipe, prompt)
    assert (guarded - empty).abs().max() < 1e-4 < (unguarded - empty).abs().max()
    assert attached.last.acted == (True,) and attached.last.guards[0].details[0]["beta"] == 1.0


def test_no_word_twice_means_one_look_at_the_prompt(pipe):
    """And a neutral word said again is no word: as published, to the bit."""
    read = []
    with SAFREE(KNIFE).attach(pipe), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Encoding, "read_ids", lambda call, ids, *stream, at=Encoding.read_ids: read.append(ids) or at(call, ids)
        )
        tiny.draw(pipe, "a photo of a knife")
        assert len(read) == 1
        tiny.draw(pipe, "the knife and the cat")
        assert len(read) == 3


def test_the_scope_after_replaces_what_has_read_the_trigger():
    guard, embeds, state = toy(3, 4, 1, 5, scope="after")
    steered = guard.steer(embeds, state).embeds
    assert same_bits(steered[:, :3], embeds.embeds[:, :3])
    assert (steered[0, 3:] @ state.streams[0].concept).norm() < 1e-5
    assert (embeds.embeds[0, 5:] @ state.streams[0].concept).norm() > 0.1


def test_each_prompt_has_its_own_number_of_steps(pipe):
    seen = []
    forward = pipe.unet.forward
    pipe.unet.forward = lambda *args, **kwargs: seen.append(kwargs["encoder_hidden_states"]) or forward(*args, **kwargs)
    guard = SAFREE(KNIFE)
    guard._until = lambda beta: next(limits)  # type: ignore[method-assign]
    limits = iter([0.3, 0.6, 0.3, 0.6])
    with guard.attach(pipe):
        tiny.draw(pipe, ["a photo of a knife", "a nice photo of a knife"], steps=10)
    rows = [[same_bits(context[2 + row], seen[0][2 + row]) for context in seen] for row in range(2)]
    assert [sum(row) for row in rows] == [3, 6]


def test_read_ids_reads_what_the_pipeline_reads(pipe):
    read = []
    guard = SAFREE(KNIFE)
    begin = guard.begin

    def spy(call):
        text = call.read(["a photo of a knife"])
        read.append((text.embeds, call.read_ids(text.token_ids)))
        return begin(call)

    guard.begin = spy  # type: ignore[method-assign]
    with guard.attach(pipe):
        tiny.draw(pipe)
    torch.testing.assert_close(*read[0])


def test_embeddings_instead_of_a_prompt_are_refused(pipe):
    prompt, negative = pipe.encode_prompt("a photo of a knife", "cpu", 1, True)
    with SAFREE(KNIFE).attach(pipe), pytest.raises(UnsupportedPipeline, match="prompt_embeds"):
        tiny.draw(pipe, None, prompt_embeds=prompt, negative_prompt_embeds=negative)


def test_the_unconditional_half_stays_what_it_is():
    guard, embeds, state = toy(3, 4, 1, 5)
    negative = PromptEmbeds(embeds.embeds, role="negative")
    assert guard.steer(negative, state).embeds is embeds.embeds


@pytest.mark.parametrize("settings", [{"alpha": -1}, {"rank": 0}, {"steps": 51}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError):
        SAFREE(KNIFE, **settings)


def test_a_neutral_word_of_several_tokens_is_refused(pipe):
    with SAFREE(KNIFE, neutral="photograph").attach(pipe), pytest.raises(ConfigError, match="neutral"):
        tiny.draw(pipe)
