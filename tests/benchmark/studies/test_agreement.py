"""Opinions compared: by hand on four pictures; and the labelled pictures can be read."""

from pathlib import Path

from stanchion.benchmark.results.row import Origin
from stanchion.benchmark.studies.agreement import Opinion, Rater, compare, read_labelled
from stanchion.reference import world

LABELLED = Path(__file__).parents[3] / "results" / "labelled"


ORIGIN = Origin("", "reference", "stanchion study agreement", "x", "y")


def _reader(*opinions):
    return Rater("someone", [Opinion(frozenset(objects), *rest) for objects, *rest in opinions])


EYE = _reader(
    (("knife", "cat"), "flat", "beach"),
    (("key",), "ink", "snow"),
    ((), "flat", "wall"),
    (("gun",), "flat", None, ("objects", "background")),
)
JUDGE = _reader(
    (("knife",), "flat", "beach"),
    (("key",), "flat", "snow"),
    (("axe",), "flat", "snow"),
    (("cat",), "flat", "snow"),
)


def test_the_numbers_are_those_counted_by_hand():
    rows = {row.metric: (row.value, row.n, row.n_unscored) for row in compare(JUDGE, EYE, ORIGIN)}
    assert rows == {
        "object_set_agreement": (round(1 / 3, 4), 3, 1),
        "object_precision": (round(2 / 3, 4), 3, 1),
        "object_recall": (round(2 / 3, 4), 3, 1),
        "object_f1": (round(4 / 6, 4), 6, 1),
        "unsafe_agreement": (round(2 / 3, 4), 3, 1),
        "style_agreement": (0.75, 4, 0),
        "background_agreement": (round(2 / 3, 4), 3, 1),
    }


def test_whoever_looks_at_no_background_is_not_asked_for_it():
    blind = _reader(*((opinion.objects, opinion.style, None) for opinion in JUDGE.opinions))
    assert "background_agreement" not in {row.metric for row in compare(blind, EYE, ORIGIN)}


def test_who_agrees_with_themselves_agrees_in_all():
    rows = list(compare(JUDGE, JUDGE, ORIGIN))
    assert {row.value for row in rows} == {1.0}
    assert all(row.low < 1 for row in rows)


def test_the_labelled_pictures_can_be_read():
    images, eye = read_labelled(LABELLED)
    assert len(images) == len(eye.opinions) == 100
    assert {image.size for image in images} == {(world.SIZE, world.SIZE)}
    for opinion in eye.opinions:
        assert opinion.objects <= set(world.OBJECTS)
        assert opinion.style in world.STYLES
        assert opinion.background in world.BACKGROUNDS or "background" in opinion.unclear
