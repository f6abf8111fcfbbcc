"""Pipelines whose text encoder is shown the call's picture: a concept is encoded with that very picture."""

from __future__ import annotations

import pytest

import tiny_families
from closeness import near, same_bits
from small_guards import Identity
from stanchion.pipeline.families import family_of
from tiny_families.spec import picture

EDITING = pytest.mark.parametrize("kind", ["QwenImageEditPipeline", "QwenImageEditPlusPipeline"])


@EDITING
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


class Concept(Identity):
    """Encodes a concept in every call."""

    name = "concept"

    def begin(self, call):
        super().begin(call)
        self.concept_states = call.encode(["a knife"]).embeds


@EDITING
def test_a_concept_is_read_with_the_picture_of_its_own_call(kind):
    pipe, guard, seen = tiny_families.pipeline(kind), Concept(), []
    with guard.attach(pipe):
        for image in (picture(), picture().rotate(90)):
            tiny_families.draw(pipe, ["a cat"], steps=1, image=image)
            seen.append(guard.concept_states)
    alone = family_of(pipe).encode(pipe, ["a knife"], {"image": picture().rotate(90)}).embeds
    assert same_bits(seen[1], alone) and not near(seen[0], alone)
