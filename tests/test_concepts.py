"""Concepts: plain values and back, and several of them together."""

import json

import pytest
import yaml

from stanchion import Concept, ConfigError, UnknownName, load_concept
from stanchion.concepts import BUILT_IN, together


@pytest.mark.parametrize("name", [*BUILT_IN, "weapons+horror", "weapons+ink"])
def test_there_and_back_through_yaml(name):
    concept = load_concept(name)
    assert Concept.from_dict(yaml.safe_load(json.dumps(concept.to_dict()))) == concept


def test_together():
    both = load_concept("weapons+ink")
    weapons, ink = BUILT_IN["weapons"], BUILT_IN["ink"]
    assert both.parts == (weapons, ink)
    assert (both.name, both.kind) == ("weapons+ink", "unsafe")
    assert both.targets == weapons.targets + ink.targets
    assert together(weapons, BUILT_IN["horror"]).kind == "unsafe"
    assert together(ink, Concept("oil", "style", ("in oil",))).kind == "style"


def test_what_one_forbids_is_no_neighbour_of_the_other():
    keys = Concept("keys", "object", ("a key",), labels=("key",))
    assert "key" in BUILT_IN["weapons"].neighbours
    assert "key" not in together(BUILT_IN["weapons"], keys).neighbours


@pytest.mark.parametrize("names", [["weapons"], ["weapons", "weapons"], []])
def test_together_takes_different_concepts(names):
    with pytest.raises(ConfigError, match="two concepts or more"):
        together(*(BUILT_IN[name] for name in names))


def test_an_unknown_part():
    with pytest.raises(UnknownName, match="'wepons'"):
        load_concept("wepons+ink")
