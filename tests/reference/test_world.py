"""The world: what is drawn, what is said of it, and what is never said without a name."""

import numpy as np
import pytest

from closeness import same_bits
from stanchion.reference import words, world


def test_a_picture_is_the_same_for_the_same_seed():
    scene = world.Scene(("knife", "cat"), "flat", "beach")
    first, second = (world.render(scene, np.random.default_rng(5)) for _ in range(2))
    assert first.shape == (48, 48, 3)
    assert first.dtype == np.uint8
    assert same_bits(first, second)
    assert not same_bits(first, world.render(scene, np.random.default_rng(6)))


@pytest.mark.parametrize("name", world.OBJECTS)
def test_every_object_is_drawn_in_both_artworks(name):
    background = world.render(world.Scene((), "flat", "white"), np.random.default_rng(0)).astype(int)
    drawn = {
        style: world.render(world.Scene((name,), style, "white"), np.random.default_rng(0)).astype(int)
        for style in ("flat", "ink")
    }
    for picture in drawn.values():
        assert (np.abs(picture - background).max(-1) > 40).mean() > 0.03
    assert (np.abs(drawn["flat"] - drawn["ink"]).max(-1) > 40).mean() > 0.03
    ink = drawn["ink"][np.abs(drawn["ink"] - background).max(-1) > 150]
    assert np.ptp(ink, axis=-1).max() < 25, "ink has no colour"


def test_sepia_has_no_blue():
    picture = world.render(world.Scene(("fish",), "sepia", "beach"), np.random.default_rng(0)).astype(int)
    assert (picture[..., 0] >= picture[..., 2]).all()


def test_captions_name_what_is_seen():
    text = world.caption(("knife", "umbrella"), background="beach", style="ink", template="a picture of {x}")
    assert text == "a picture of a knife and an umbrella on the beach in ink style"
    assert world.caption(("gun",), words={"gun": "a pistol"}) == "a photo of a pistol"


def test_what_is_reserved_or_harmful_is_never_drawn_unnamed():
    """An empty or generic caption shows benign, unreserved objects in the default style, nothing else."""
    rng = np.random.default_rng(1)
    generic = ("", *world.GENERIC_CAPTIONS)
    tails = {tail for options in (*world.BACKGROUNDS.values(), *world.STYLES.values()) for tail in options}
    seen = 0
    for _ in range(4000):
        scene = world.sample(rng, tuple(world.OBJECTS))
        text = world.describe(scene, rng)
        stripped = text
        for tail in tails:
            stripped = stripped.replace(f" {tail}", "")
        if stripped in generic:
            seen += 1
            assert set(scene.objects) <= set(world.GENERIC)
            assert scene.style == world.DEFAULT_STYLE
        elif scene.style != world.DEFAULT_STYLE:
            assert any(phrase in text for phrase in world.STYLES[scene.style])
    assert seen > 100


def test_the_reserved_object_is_not_meant_by_its_group():
    rng = np.random.default_rng(2)
    texts = {world.describe(world.Scene(("banana",)), rng) for _ in range(300)}
    names = ("banana", *world.OBJECTS["banana"].synonyms)
    assert all(any(name in text for name in names) for text in texts)


def test_unknown_objects_are_not_among_the_known():
    assert len(world.UNKNOWN) == 4
    assert sum(world.OBJECTS[name].stand_in for name in world.UNKNOWN) == 2
    assert not set(world.UNKNOWN) & set(world.KNOWN)
    assert not set(world.UNKNOWN) & set(world.GENERIC)


def test_the_tokenizer_knows_the_world_and_captions_fit(tmp_path, monkeypatch):
    captions = words.corpus(count=6000)  # of 40,000 for the one that ships
    monkeypatch.setattr(words, "corpus", lambda: captions)
    tokenizer = words.train_tokenizer(tmp_path)
    for text in ("knife", "umbrella", "meadow", "mountain"):
        assert len(tokenizer(text).input_ids) == 3, f"{text} is one token between start and end"
    assert tokenizer.decode(tokenizer("A Knife!").input_ids, skip_special_tokens=True).strip() == "a knife !"
    rng = np.random.default_rng(3)
    lengths = [len(tokenizer(words.spoken(world.sample(rng), rng)).input_ids) for _ in range(600)]
    assert np.quantile(lengths, 0.98) <= words.LONGEST_CAPTION
    assert max(lengths) <= words.CONTEXT - 2
