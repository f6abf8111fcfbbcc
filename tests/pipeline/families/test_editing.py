"""Pipelines whose text encoder is shown the call's picture: a concept is encoded with that very picture."""

from __future__ import annotations

import pytest

import tiny_families
from closeness import near, same_bits
from stanchion.pipeline.families import family_of
from tiny_families.spec import picture


@pytest.mark.parametrize("kind", ["QwenImageEditPipeline", "QwenImageEditPlusPipeline"])
def test_a_concept_is_read_with_the_picture_as_the_prompt_is(kind, monkeypatch):
    pipe, family = tiny_families.pipeline(kind), family_of(tiny_families.pipeline(kind))
    encoded, own = [], pipe.encode_prompt
    monkeypatch.setattr(pipe, "encode_prompt", lambda **given: encoded.append(own(**given)) or encoded[-1])
    tiny_families.draw(pipe, ["a knife"])
    monkeypatch.undo()
    states = encoded[0][0]
    assert same_bits(family.encode(pipe, ["a knife"], {"image": picture()}).embeds, states)
    assert not near(family.encode(pipe, ["a knife"], {"image": picture().rotate(90)}).embeds, states)
    longer = family.encode(pipe, ["a knife", "a knife on the table"], {"image": picture()})
    assert longer.extra["encoder_hidden_states_mask"].sum(1).tolist() == [states.shape[1], longer.embeds.shape[1]]
