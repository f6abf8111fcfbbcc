"""A prompt that says a phrase over and over is met with the phrase said as often."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from closeness import near, same_bits
from stanchion import Concept, TraSCE
from stanchion.guards.sayings import Sayings
from stanchion.pipeline.families import family_of
from stanchion.pipeline.model.encoding import Encoding
from stanchion.pipeline.phrase_cache import PhraseCache
from stanchion.types import Condition

KNIVES = Concept("knives", "object", ("a knife", "a blade"), anchors=("a cat",))
UNTOLD = "a photo of a cat on a table"


@pytest.fixture
def call(pipe: Any) -> Encoding:
    return Encoding(pipe, family_of(pipe), {}, PhraseCache())


def heard(call: Encoding, *texts: str) -> Condition:
    prompts = call.pipe.encode_prompt(list(texts), call.device, 1, False)[0]
    return Sayings.of(call, KNIVES).heard_in(Condition(prompts))


@pytest.mark.parametrize("count", [2, 3, 4, 100])
def test_a_repeated_phrase_is_heard_as_often_as_it_is_said(call: Encoding, count: int) -> None:
    text = " ".join(["a blade"] * count)
    room = call.encode([""]).embeds.shape[1] - 2
    there = call.encode([" ".join(["a blade"] * min(count, room // 2))]).embeds
    assert near(heard(call, text).embeds, there)


@pytest.mark.parametrize("text", ["", "a knife", "a blade", "a knife, a blade", UNTOLD, "a photo of a knife and a cat"])
def test_any_other_prompt_meets_the_concepts_text_itself(call: Encoding, text: str) -> None:
    sayings = Sayings.of(call, KNIVES)
    assert sayings.heard_in(call.encode([text])) is sayings.text
    assert same_bits(sayings.text.embeds, call.encode([KNIVES.text]).embeds)


def test_each_prompt_of_a_batch_is_heard_by_itself(call: Encoding) -> None:
    both = heard(call, UNTOLD, "a knife a knife").embeds
    assert same_bits(both[:1], call.encode([KNIVES.text]).embeds)
    assert near(both[1:], call.encode(["a knife a knife"]).embeds)


def test_states_of_another_length_are_not_compared(call: Encoding) -> None:
    sayings = Sayings.of(call, KNIVES)
    longer = torch.cat([call.encode(["a knife a knife"]).embeds] * 2, dim=1)
    assert sayings.heard_in(Condition(longer)) is sayings.text


def test_a_concept_that_fills_the_context_has_nothing_to_repeat(call: Encoding) -> None:
    long = Concept("long", "object", (" ".join(["a knife", "a blade"] * 5),))
    sayings = Sayings.of(call, long)
    assert sayings.heard_in(call.encode([long.text])) is sayings.text


def test_trasce_falls_back_to_the_empty_prompt_however_often_it_is_said(pipe: Any) -> None:
    def apart(text: str) -> Tensor:
        return (tiny.draw(pipe, text) - tiny.draw(pipe, "")).abs().max()

    with TraSCE(KNIVES, localized=False).attach(pipe):
        said = [tiny.draw(pipe, text) for text in ("a knife a knife a knife", "a blade " * 4)]
    unconditional = tiny.draw(pipe, "")
    assert apart("a knife a knife a knife") > 1e-3
    assert all((one - unconditional).abs().max() < 1e-4 for one in said)


def test_a_prompt_is_listened_to_once_and_again_where_it_changes(pipe: Any) -> None:
    asked = []
    heard_in = Sayings.heard_in

    def counted(self: Sayings, prompts: Condition) -> Condition:
        asked.append(prompts)
        return heard_in(self, prompts)

    def change(pipe: Any, step: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        states = pipe.encode_prompt("a blade a blade", pipe.device, 1, True, "")
        return given if step != 1 else {**given, "prompt_embeds": torch.cat([states[1], states[0]])}

    with pytest.MonkeyPatch.context() as patch, TraSCE(KNIVES, localized=False).attach(pipe):
        patch.setattr(Sayings, "heard_in", counted)
        tiny.draw(pipe, "a knife a knife", steps=4)
        assert len(asked) == 1
        options = {"callback_on_step_end": change, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
        tiny.draw(pipe, "a knife a knife", steps=4, **options)
        assert len(asked) == 3
