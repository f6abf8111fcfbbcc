"""Concepts: plain values and back, and several of them together."""

import json

import pytest
import yaml

from stanchion import Concept, ConfigError, UnknownName, load_concept, load_guard
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


WRITTEN = "name: knives\nkind: object\ntargets: [a knife]\n"


def test_a_concept_file(tmp_path):
    file = tmp_path / "knives.yaml"
    file.write_text(WRITTEN)
    assert load_concept(file) == Concept("knives", "object", ("a knife",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WRITTEN + "targets: [a spoon]\n", "key 'targets' is given twice"),
        (WRITTEN.replace("a knife", "null"), r"targets\[0\]: expected a str, got None"),
        (WRITTEN.replace("[a knife]", "a knife"), "targets: expected a list"),
        (WRITTEN.replace("knives", "3"), "name: expected a str, got 3"),
        (WRITTEN.replace("knives", "../knives"), "a name has no '/'"),
        (WRITTEN.replace("knives", "knives+forks"), "a name has no '\\+'"),
        (WRITTEN + "text: {a: b}\n", "text: expected a str"),
        (WRITTEN + "parts: null\n", "parts: expected a list"),
        (WRITTEN + "parts: [{name: knives}]\n", r"parts\[0\]: missing kind, targets"),
        (WRITTEN + "part: []\n", "unknown key 'part'; did you mean parts"),
        ("- knives\n", "expected keys and values"),
        ("", "expected keys and values, got None"),
        ("name: [", "not valid YAML"),
        (b"name: Ren\xe9\n", "not UTF-8"),
    ],
)
def test_a_concept_file_that_is_refused(tmp_path, text, message):
    file = tmp_path / "knives.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=f"knives.*{message}"):
        load_concept(file)


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 3000, "a\0b", "+" + "x" * 300])
def test_a_name_that_can_be_no_path(name):
    with pytest.raises(UnknownName, match="no concept and no YAML file"):
        load_concept(name)
    with pytest.raises(UnknownName):
        load_guard(name)


def test_several_concepts_in_one_file_keep_every_part():
    values = load_concept("weapons+ink").to_dict()
    del values["parts"][1]
    with pytest.raises(ConfigError, match="not that of its parts, weapons"):
        Concept.from_dict(values)


def test_a_text_is_no_list_of_letters():
    with pytest.raises(ConfigError, match="targets: expected a list, got 'a spear'"):
        load_concept("weapons", targets="a spear")
