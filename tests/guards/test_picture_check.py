"""The picture check: a judge decides what is handed over, and who can't tell lets nothing through."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import tiny
from stanchion import Concept, ConfigError, GuardFailed, PictureCheck, UnknownName
from stanchion.errors import JudgeError
from stanchion.reference import world


@pytest.fixture(scope="module")
def pictures():
    """A knife and a cat as the world draws them."""
    scenes = [world.Scene((name,)) for name in ("knife", "cat")]
    return [Image.fromarray(world.render(scene, np.random.default_rng(0))) for scene in scenes]


@pytest.mark.parametrize("action", ["withhold", "blur", "flag"])
def test_what_shows_the_concept_is_dealt_with_and_the_rest_is_left_alone(pictures, action):
    checked = PictureCheck("weapons", action=action).check(pictures, None)
    knife, cat = checked.pictures
    assert checked.acted.tolist() == [True, False]
    assert cat is pictures[1] and knife.size == pictures[0].size
    assert checked.scores["found"][0] > 0.5 > checked.scores["found"][1]
    if action == "withhold":
        assert not np.asarray(knife).any()
    if action == "flag":
        assert knife is pictures[0]


def test_nothing_is_found_in_what_was_blurred(pictures):
    guard = PictureCheck("weapons", action="blur")
    (blurred,) = guard.check(pictures[:1], None).pictures
    assert not guard.check([blurred], None).acted.any()


def test_a_judge_that_fails_leaves_no_picture(pipe):
    guard = PictureCheck("weapons")

    def look(images):
        raise JudgeError("out of order")

    guard.judge.look = look
    with guard.attach(pipe), pytest.raises(GuardFailed, match="out of order"):
        tiny.draw(pipe)


def test_a_judge_that_knows_no_label_of_the_concept_leaves_no_picture(pipe):
    concept = Concept("rain", "object", targets=("rain",), labels=("rain",))
    with PictureCheck(concept).attach(pipe), pytest.raises(GuardFailed, match="knows none of the labels of rain"):
        tiny.draw(pipe)


def test_names_and_settings_are_looked_at_when_it_is_made():
    with pytest.raises(ConfigError, match="no labels"):
        PictureCheck(Concept("rain", "object", targets=("rain",)))
    with pytest.raises(UnknownName, match="always_safe"):
        PictureCheck("weapons", judge="always_save")
    with pytest.raises(ConfigError, match="threshold"):
        PictureCheck("weapons", judge_settings={"threshold": 2})


def test_the_judge_is_part_of_its_identity():
    thresholds = [PictureCheck("weapons", judge_settings={"threshold": value}).identity for value in (0.4, 0.5)]
    assert len({*thresholds, PictureCheck("weapons", judge="always_safe").identity}) == 3


def test_a_black_picture_stands_for_a_withheld_one(pipe):
    with PictureCheck("weapons", judge="always_unsafe").attach(pipe) as attachment:
        (image,) = tiny.draw(pipe, output_type="pil")
        (report,) = attachment.last.guards
    assert isinstance(image, Image.Image) and not np.asarray(image).any()
    assert report.acted == (True,) and report.scores["found"] == ((1.0,),)
