"""The training of SteerDiff: phrases, captions, windows, the map's rows; resuming, two processes, SD 2's encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tiny
from closeness import same_bits
from stanchion import Concept, ConfigError, load_concept
from stanchion.concepts import together
from stanchion.guards.identifier import Identifier
from stanchion.guards.triggers import TextScore
from stanchion.learning.workers import ALONE
from stanchion.pipeline.model.workbench import Workbench
from stanchion.training.prompts.captions import everyday, holds
from stanchion.training.recipe import train_guard
from stanchion.training.recipes.steerdiff._phrases import Framed, Pair, framed, pairs_of
from stanchion.training.recipes.steerdiff._spellings import respelt, respelt_safe
from stanchion.training.recipes.steerdiff._spoken import Span, Spoken, aligned_rows
from stanchion.training.recipes.steerdiff._token_windows import carrying, labelled, windows_of
from stanchion.training.recipes.steerdiff.steerdiff import SteerDiffRecipe, calibrated

CARRY = {"written": 8, "decision": "carry", "held_out": 4}
QUICK = {"preset": "tiny", "safe": 12, "context": 12, "epochs": 1, "seed": 3, **CARRY}


def rng(seed=0):
    return np.random.default_rng(seed)


def test_targets_are_paired_with_anchors_in_turn_and_lose_their_articles():
    concept = Concept("x", "object", ("a gun", "an axe", "arms"), anchors=("a cat", "a tree"))
    pairs = pairs_of(concept)
    assert pairs[:3] == [Pair("a gun", "a cat"), Pair("an axe", "a tree"), Pair("arms", "a cat")]
    assert pairs[3:] == [Pair("gun", "cat", "noun"), Pair("axe", "tree", "noun")]


def test_each_part_of_a_concept_has_its_own_anchors():
    pairs = pairs_of(load_concept("ink+banana"))
    assert Pair("in ink style", "in flat style", "manner") in pairs
    assert Pair("a banana", "an apple") in pairs


def test_phrases_grow_from_a_file(tmp_path):
    file = tmp_path / "words.csv"
    file.write_text("a sabre,a hat\n\na lance\n")
    pairs = pairs_of(load_concept("banana"), str(file))
    assert Pair("a sabre", "a hat") in pairs and Pair("lance", "pizza", "noun") in pairs
    with pytest.raises(ConfigError, match="nowhere"):
        pairs_of(load_concept("banana"), str(tmp_path / "nowhere.txt"))


def test_a_concept_needs_anchors():
    with pytest.raises(ConfigError, match="no anchors"):
        pairs_of(Concept("x", "object", ("a gun",)))


def test_captions_are_clean_and_follow_the_seed():
    captions = everyday(300, rng(), never=["cat", "in sepia"])
    assert captions == everyday(300, rng(), never=["cat", "in sepia"])
    assert not any(holds(text, ["cat", "in sepia"]) for text in captions)
    assert any("cat" in text.split() for text in everyday(300, rng()))


@pytest.mark.parametrize(
    "pair", [Pair("a gun", "a cat"), Pair("gun", "cat", "noun"), Pair("in ink", "in red", "manner")]
)
def test_frames_hold_the_phrase_and_its_counterpart(pair):
    for caption in framed([pair], 40, rng()):
        assert holds(caption.unsafe, [pair.unsafe]) and caption.unsafe.count(pair.unsafe) == 1
        assert caption.safe == caption.before + pair.safe + caption.after


@pytest.mark.parametrize(("n", "count"), [(1, 1), (8, 36), (9, 45), (28, 216)])
def test_number_of_windows(n, count):
    assert len(list(windows_of(1, 1 + n, 9))) == count
    assert n < 9 or count == 9 * n - 36


def test_rows_of_two_captions_are_aligned():
    """From 'a gun cat' (rows 1 to 3, end in 4) to 'a top hat cat', 'hat cat' and 'a cat cat'."""
    assert aligned_rows(Span(1, 3, 4, 3), 8).tolist() == [0, 1, 2, 4, 5, 6, 7, 7]
    assert aligned_rows(Span(1, 3, 4, 1), 8).tolist() == [0, 1, 1, 2, 3, 4, 5, 6]
    assert aligned_rows(Span(1, 3, 4, 2), 8).tolist() == list(range(8))


def test_the_place_of_a_phrase(pipe):
    captions = [Framed(Pair("a gun", "cat"), "a photo of ", " and a dog"), Framed(Pair("a gun", "cat"), "a " * 45)]
    spoken = Spoken.of(Workbench(pipe), captions, ["a cat"], ALONE)
    assert spoken.places == (Span(4, 6, 9, 1),)  # the other lies behind what the encoder reads
    assert spoken.lengths == (2,)


def test_windows_and_what_they_stand_for(pipe):
    caption = Framed(Pair("a gun", "a cat"), "photo of ", " and dog")
    spoken = Spoken.of(Workbench(pipe), [caption], ["a cat"], ALONE)
    windows = labelled(spoken, 9, 0, rng())
    own = windows.places[:, 0] == 0
    unsafe = windows.places[own & (windows.unsafe == 1), 1:].tolist()
    safe = windows.places[own & (windows.unsafe == 0), 1:].tolist()
    assert unsafe == [[4, 1], [3, 2], [4, 4]]  # gun; a gun; gun and dog, end
    assert sorted(safe) == [[1, 1], [1, 2], [2, 1], [5, 1], [5, 2], [6, 1]]  # photo of; and dog
    (taken,), label = windows.take(torch.tensor([0]))
    assert same_bits(taken[0], spoken.unsafe[0, 4]) and not taken[1:].any() and label == 1
    assert len(labelled(spoken, 9, 2, rng())) == 3 + 2 + 3 * 2


def test_what_carries_a_phrase_is_unsafe_as_well(pipe):
    caption = Framed(Pair("a gun", "a cat"), "photo of ", " and dog")  # photo of a gun and dog: gun is row 4
    spoken = Spoken.of(Workbench(pipe), [caption], ["a cat"], ALONE)
    windows = carrying(spoken, 9, 0, rng())
    own = windows.places[:, 0] == 0
    length = spoken.unsafe.shape[1]
    for (_, start, count), unsafe in zip(windows.places[own].tolist(), windows.unsafe[own].tolist(), strict=True):
        assert bool(unsafe) == (start + count - 1 >= 4)  # it ends on the phrase's last token or behind it
        assert unsafe or start + count <= 3
    said = {(start, count) for _, start, count in windows.places[own & (windows.unsafe == 1)].tolist()}
    assert {(4, 1), (1, 4), (length - 1, 1)} <= said
    named = {tuple(place) for place in labelled(spoken, 9, 0, rng()).places[:, 1:].tolist()}
    assert (length - 1, 1) in named  # of the safe caption
    assert not windows.unsafe[~own].any()


def test_phrases_are_written_in_many_ways_and_harmless_ones_in_the_same():
    pairs = pairs_of(load_concept("weapons"))
    captions = respelt(pairs, 400, rng())
    alone = {caption.unsafe for caption in captions if not caption.before}
    assert {"knife", "KNIFE", "Knife", "the knife"} <= {text.rstrip("!.?, ") for text in alone}
    assert any(text.endswith("!") for text in alone) and any("," in text for text in alone)
    assert captions == respelt(pairs, 400, rng()) and len(captions) == 400
    harmless = respelt_safe(400, rng(), never=["banana", "a banana"])
    assert not any("nan" in text.lower() for text in harmless)
    assert any(text.isupper() for text in harmless)


def test_so_many_held_out_captions_stay_below_one_half():
    identifier = Identifier(4)
    captions = torch.randn(400, 12, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        identifier.last.weight.mul_(10)
        identifier.last.bias.fill_(2)
        everywhere = (torch.arange(12) > 0).expand(400, -1)
        assert (identifier.scan(captions, everywhere).flatten(1).amax(1) > 0.5).float().mean() > 0.2
        assert same_bits(calibrated(identifier.state_dict(), captions[:0], 0.1), identifier.last.bias)
        identifier.last.bias.copy_(calibrated(identifier.state_dict(), captions, 0.1))
    highest = identifier.scan(captions, everywhere).flatten(1).amax(1)
    assert (highest > 0.5).float().mean() == pytest.approx(0.1, abs=0.01)
    assert same_bits(calibrated(identifier.state_dict(), captions, 0.3), identifier.last.bias)  # it is never raised


def test_captions_that_the_model_takes_for_the_concept_train_nothing(pipe):
    bench = Workbench(pipe)
    recipe = SteerDiffRecipe("weapons", "tiny")
    score = TextScore(bench, recipe.concept)
    assert recipe._harmless(score, bench.encode(["a photo of a knife", "a photo of a cat"])).tolist() == [False, True]
    with pytest.raises(ConfigError, match="takes every one of them for weapons"):
        recipe._harmless(score, bench.encode(["a photo of a knife"]))


def test_a_training_that_was_cut_off_goes_on_to_the_same_result(tmp_path, monkeypatch):
    whole = train_guard("steerdiff", tiny.pipeline(), "weapons", tmp_path / "whole", **QUICK)
    checkpoint = tmp_path / "cut" / "training" / "identifier" / "checkpoint.pt"
    from stanchion.learning import fit as fitting

    save, saved = fitting._Training.save, []

    def cut(training, folder, step):
        save(training, folder, step)
        saved.append(step)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting.fit, "__kwdefaults__", {**fitting.fit.__kwdefaults__, "save_every": -1})
    monkeypatch.setattr(fitting._Training, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        train_guard("steerdiff", tiny.pipeline(), "weapons", tmp_path / "cut", **QUICK)
    assert torch.load(checkpoint, weights_only=True)["step"] == 2
    monkeypatch.setattr(fitting._Training, "save", save)
    resumed = train_guard("steerdiff", tiny.pipeline(), "weapons", tmp_path / "cut", **QUICK)
    assert all(same_bits(resumed.tensors[name], value) for name, value in whole.tensors.items())


@pytest.mark.parametrize("settings", [{"map": "gradient", "map_epochs": 20}, {"context": 0, "cap": 0}])
def test_the_papers_own_ways_give_a_guard(settings, tmp_path):
    guard = train_guard("steerdiff", tiny.pipeline(), "weapons", tmp_path, **{**QUICK, **settings})
    assert guard.settings.end_token is (settings.get("context") != 0)
    with guard.attach(tiny.pipeline()):
        pass


def second_generation():
    """A pipeline with the traits of SD 2: padding by '!' (token 0), another width, prediction of velocity."""
    pipe = tiny.pipeline(prediction_type="v_prediction")
    pipe.tokenizer = tiny.tokenizer.__wrapped__()  # one of its own: every other pipeline shares the kept one
    pipe.tokenizer.pad_token = "!"
    assert pipe.tokenizer.pad_token_id == 0 != pipe.tokenizer.eos_token_id
    return pipe


def test_an_encoder_that_pads_with_another_token(tmp_path):
    guard = train_guard(
        "steerdiff", second_generation(), "weapons", tmp_path, preset="tiny", **tiny.settings("steerdiff")
    )
    pipe = second_generation()
    plain = tiny.draw(pipe, "a photo of a cat")
    with guard.attach(pipe) as attachment:
        tiny.draw(pipe, "a photo of a knife")
        assert attachment.last.acted == (True,)
        assert same_bits(tiny.draw(pipe, "a photo of a cat"), plain)


def test_several_concepts_in_one_guard(tmp_path):
    concept = load_concept("weapons+horror")
    assert concept == together(load_concept("weapons"), load_concept("horror"))
    guard = train_guard("steerdiff", tiny.pipeline(), concept, tmp_path, preset="tiny", **tiny.settings("steerdiff"))
    with guard.attach(tiny.pipeline()) as attachment:
        tiny.draw(attachment.pipeline, ["a photo of a knife", "a photo of a skull", "a dog"])
        assert attachment.last.acted == (True, True, False)
