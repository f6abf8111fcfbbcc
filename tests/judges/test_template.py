"""The judge without a network: it reads fresh renders, in every style, and sees nothing where nothing is."""

import numpy as np
import pytest

from stanchion.judges.template import TemplateJudge, off_sepia
from stanchion.reference import world


@pytest.fixture(scope="module")
def judge():
    return TemplateJudge()


def _renders(scenes, seed=5):
    rng = np.random.default_rng(seed)
    return [world.render(scene, rng) for scene in scenes]


@pytest.mark.parametrize("style", world.STYLES)
def test_it_reads_renders_of_every_style(judge, style):
    scenes = [
        world.Scene(("knife",), style, "beach"),
        world.Scene(("bell",), style, "white"),
        world.Scene(("frog", "skull"), style, "meadow"),
        world.Scene(("pizza", "gun"), style, "wall"),
    ]
    for scene, labels in zip(scenes, judge.detect(_renders(scenes)), strict=True):
        assert set(labels.objects) == set(scene.objects), scene
        assert labels.style == style, scene
        assert labels.background is None


def test_an_empty_background_shows_nothing(judge):
    scenes = [world.Scene((), "flat", background) for background in world.BACKGROUNDS]
    for labels in judge.detect(_renders(scenes)):
        assert labels.objects == ()
        assert labels.style is None


def test_a_shuffled_picture_shows_nothing(judge):
    picture = _renders([world.Scene(("cat",))])[0]
    pixels = np.random.default_rng(0).permutation(picture.reshape(-1, 3)).reshape(picture.shape)
    assert judge.detect([pixels])[0].objects == ()


def test_a_threshold_that_nothing_reaches_finds_nothing():
    picture = _renders([world.Scene(("cat",))])
    labels = TemplateJudge(threshold=1.0).detect(picture)[0]
    assert labels.objects == ()
    assert labels.scores["cat"] == max(labels.scores[name] for name in world.OBJECTS)


def test_only_tones_of_sepia_are_near_sepia():
    flat, sepia = (_renders([world.Scene(("fish",), style, "table")])[0] / 255 for style in ("flat", "sepia"))
    assert off_sepia(sepia) < 0.02
    assert off_sepia(flat) > 0.1
