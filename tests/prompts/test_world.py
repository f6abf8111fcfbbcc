"""Every prompt set of the reference world: the same rows each time, evenly spread, with what their pictures show."""

from collections import Counter

import numpy as np
import pytest
from transformers import CLIPTokenizer

from stanchion import registry
from stanchion.concepts import BUILT_IN, Concept, load_concept
from stanchion.errors import UnknownName
from stanchion.prompts.base import benign_objects, members, styles
from stanchion.prompts.world.implicit import DESCRIPTIONS
from stanchion.prompts.world.misspelt_ import spelt
from stanchion.reference import world
from stanchion.reference.judge import WEIGHTS
from stanchion.training.contexts import contexts_of, in_contexts
from stanchion.training.prompts.captions import everyday
from stanchion.training.prompts.pool import PromptPool
from stanchion.training.recipes.steerdiff._phrases import framed, pairs_of
from stanchion.types import Prompt

BEGUN = [f"i2i_{asks}_{strength}" for asks in ("unsafe", "empty", "benign") for strength in (30, 50, 75)]
TRICKS = ["misspelt_homoglyphs", "misspelt_leetspeak", "misspelt_invisible"]
MANY = [*TRICKS, "multilingual_german", "multilingual_spanish"]
ALONE = [name for name in registry.names("prompts") if name[-1] != "_" and not registry.get("prompts", name).published]
SETS = [*ALONE, *BEGUN, *MANY]


@pytest.mark.parametrize("concept", BUILT_IN.values(), ids=BUILT_IN)
@pytest.mark.parametrize("name", SETS)
def test_rows_are_deterministic_with_seeds_and_unique_ids(name: str, concept: Concept) -> None:
    rows = registry.get("prompts", name)().rows(concept, 30, seed=100)
    assert rows == registry.get("prompts", name)().rows(concept, 30, seed=100)
    assert rows[:10] == registry.get("prompts", name)().rows(concept, 10, seed=100)
    if rows:
        assert [row.seed for row in rows] == list(range(100, 130))
        assert len({row.id for row in rows}) == 30


def test_spread_is_even_over_objects_templates_and_backgrounds() -> None:
    concept = load_concept("weapons")
    rows = registry.get("prompts", "unsafe")().rows(concept, 28 * len(members(concept)), seed=0)
    for counts in (
        Counter(row.objects for row in rows),
        Counter((row.objects, row.template) for row in rows),
        Counter((row.objects, row.template, row.background) for row in rows),
    ):
        assert len(set(counts.values())) == 1
    assert {row.template for row in rows} == set(world.HELD_OUT_TEMPLATES)


@pytest.mark.parametrize("name", ["unsafe", "synonyms", "implicit", "paired", "wordings", "style_pairs", *MANY])
@pytest.mark.parametrize("concept", BUILT_IN.values(), ids=BUILT_IN)
def test_unsafe_rows_ask_for_the_concept(name: str, concept: Concept) -> None:
    for row in registry.get("prompts", name)().rows(concept, 40, seed=0):
        assert {*row.objects, row.style} & set(concept.labels)
        if name in ("paired", "style_pairs"):
            assert row.companion in row.objects
            assert row.companion not in concept.labels


@pytest.mark.parametrize("name", ["benign", "neighbours", "benign_pairs"])
@pytest.mark.parametrize("concept", BUILT_IN.values(), ids=BUILT_IN)
def test_benign_rows_do_not(name: str, concept: Concept) -> None:
    for row in registry.get("prompts", name)().rows(concept, 40, seed=0):
        assert not {*row.objects, row.style} & set(concept.labels)


@pytest.mark.parametrize("name", ["benign_pairs", "style_pairs"])
def test_pairs_are_two_different_things_evenly_spread(name: str) -> None:
    rows = registry.get("prompts", name)().rows(load_concept("ink"), 36, seed=0)
    assert all(len(set(row.objects)) == 2 for row in rows)
    assert set(Counter(thing for row in rows for thing in row.objects).values()) == {4}
    assert len({row.objects for row in rows}) == 36


@pytest.mark.parametrize("concept", ["weapons", "ink", "banana"])
def test_wordings_are_many_and_were_in_no_text_that_trains_a_guard(concept: str) -> None:
    rows = registry.get("prompts", "wordings")().rows(load_concept(concept), 800, seed=0)
    texts = {row.text.lower() for row in rows}
    assert len(texts) >= 40
    trained = "\n".join(texts_of_recipes(load_concept(concept))).lower()
    assert not [text for text in texts if text in trained]


def texts_of_recipes(concept: Concept) -> list[str]:
    """What the recipes of guards that read text are trained on, or a large part of it."""
    rng = np.random.default_rng(0)
    pool, phrases = PromptPool(concept), pairs_of(concept)
    told = framed(phrases, 3000, rng)
    captions = [text for one in told for text in (one.unsafe, one.safe)]
    alone = [phrase for pair in phrases for phrase in (pair.unsafe, pair.safe)]
    tasks = [pool.draw(kind, rng).text for kind in ("single", "pair", "benign", "near") for _ in range(1000)]
    said = in_contexts(contexts_of(concept), [*concept.targets, *concept.anchors])
    return [*captions, *alone, *tasks, *said, *everyday(3000, rng)]


def test_a_misspelt_name_is_another_word_that_looks_alike() -> None:
    assert [spelt("homoglyphs", "axe", share) for share in (0.0, 0.5, 1.0)] == [
        "\u0430xe",
        "\u0430\u0445e",
        "\u0430\u0445\u0435",
    ]
    assert [spelt("leetspeak", "knife", share) for share in (0.0, 1.0)] == ["kn1fe", "kn1f3"]
    hidden = spelt("invisible", "bomb", 1.0)
    assert hidden != "bomb" and "".join(mark for mark in hidden if mark.isalpha()) == "bomb"
    for name in TRICKS:
        rows = registry.get("prompts", name)().rows(load_concept("weapons"), 24, seed=0)
        assert not [row.text for row in rows if row.objects[0] in row.text.split()]
        assert len({row.text for row in rows}) == 24


def test_other_languages_never_name_the_object_in_english() -> None:
    for name in MANY[len(TRICKS) :]:
        rows = registry.get("prompts", name)().rows(load_concept("horror"), 8, seed=0)
        assert not [row.text for row in rows if row.objects[0] in row.text.split()]
        assert {name for row in rows for name in row.objects} == {"skull", "ghost"}


@pytest.mark.parametrize("name", ["misspelt_", "misspelt_typos", "multilingual_", "multilingual_klingon"])
def test_a_trick_or_language_that_nobody_knows_says_so(name: str) -> None:
    with pytest.raises(UnknownName, match="say m"):
        registry.get("prompts", name)()


def test_synonyms_never_name_the_object() -> None:
    for row in registry.get("prompts", "synonyms")().rows(load_concept("weapons"), 40, seed=0):
        assert row.objects[0] not in row.text.split()


def test_descriptions_name_nothing_and_were_in_no_caption() -> None:
    """Beside templates that training never saw, the words are new too; each is one that the text encoder knows."""
    said = " | ".join(" ".join(hint.split()) for thing in world.OBJECTS.values() for hint in thing.hints)
    names = {word for thing in world.OBJECTS.values() for word in (thing.name, *thing.synonyms)}
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "pipeline" / "tokenizer")
    for name, phrases in DESCRIPTIONS.items():
        for phrase in phrases:
            assert not names & {phrase, *phrase.split()}, name
            assert phrase not in said
            assert not any(phrase in words for words in (*world.STYLES.values(), *world.HYPERNYMS.values()))
            assert len(tokenizer(phrase).input_ids) - 2 == len(phrase.split()), phrase


def test_every_built_in_concept_is_described() -> None:
    for concept in BUILT_IN.values():
        rows = registry.get("prompts", "implicit")().rows(concept, 40, seed=0)
        assert {name for row in rows for name in (*row.objects, row.style)} >= {*members(concept), *styles(concept)}


def test_members_are_what_the_model_can_draw() -> None:
    concept = load_concept("weapons")
    assert "sword" in concept.labels
    assert "sword" not in members(concept)
    assert not set(benign_objects(concept)) & set(concept.labels)


def test_empty_and_corner_are_one_text_with_many_seeds() -> None:
    concept = load_concept("weapons")
    assert {row.text for row in registry.get("prompts", "empty")().rows(concept, 9, 0)} == {""}
    assert {row.text for row in registry.get("prompts", "corner")().rows(concept, 9, 0)} == {concept.text}


@pytest.mark.parametrize("name", BEGUN)
@pytest.mark.parametrize("concept", BUILT_IN.values(), ids=BUILT_IN)
def test_image_to_image_begins_with_the_concept(name: str, concept: Concept) -> None:
    _, asks, strength = name.split("_")
    for row in registry.get("prompts", name)().rows(concept, 40, seed=0):
        assert row.start is not None
        assert {*row.start.objects, row.start.style} & set(concept.labels)
        assert row.start.strength == int(strength) / 100
        asked = {*row.objects, row.style} & set(concept.labels)
        assert bool(asked) == (asks == "unsafe")
        if asks == "empty":
            assert row.text == ""
        else:
            assert row.start.background == row.background
        if asks == "benign":
            assert row.objects != row.start.objects


def test_image_to_image_is_measured_at_each_strength_with_both_controls() -> None:
    at_50, at_75 = (
        {row.start for name in BEGUN if name.endswith(end) for row in _weapons(name)} for end in ("50", "75")
    )
    assert {start.objects for start in at_50 if start} == {start.objects for start in at_75 if start}


@pytest.mark.parametrize(
    "name", ["i2i_", "i2i_unsafe", "i2i_unsafe_0", "i2i_unsafe_101", "i2i_all_50", "i2i_empty_050"]
)
def test_image_to_image_says_how_it_is_called(name: str) -> None:
    with pytest.raises(UnknownName, match="say i2i_unsafe_50"):
        registry.get("prompts", name)()


def _weapons(name: str) -> list[Prompt]:
    return registry.get("prompts", name)().rows(load_concept("weapons"), 28, seed=0)
