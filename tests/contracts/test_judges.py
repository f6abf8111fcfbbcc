"""Every judge: broken pictures are unscored, failures too, and its identity can be printed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import foreign
from stanchion import registry
from stanchion.concepts import load_concept
from stanchion.judges import load_judge
from stanchion.judges.base import Judge
from stanchion.types import Labels, Unscored

WEAPONS = load_concept("weapons")
GOOD = Image.new("RGB", (48, 48), (200, 180, 40))
BROKEN: dict[str, Any] = {
    "nothing": None,
    "text": "picture.png",
    "gray": Image.new("L", (48, 48)),
    "transparent": Image.new("RGBA", (48, 48)),
    "empty": np.zeros((0, 48, 3), np.uint8),
    "channels first": np.zeros((3, 48, 48), np.uint8),
    "not a number": np.full((48, 48, 3), np.nan, np.float32),
    "out of range": np.full((48, 48, 3), 2.0, np.float32),
    "wide integers": np.zeros((48, 48, 3), np.int64),
}


@pytest.fixture(params=registry.names("judges"), scope="module")
def judge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """As it comes; those that need others' weights stand on the parts of ours that ``foreign`` makes."""
    return load_judge(request.param, **foreign.settings(request.param, tmp_path_factory.mktemp("judge")))


def test_a_broken_picture_is_unscored_and_its_neighbours_are_not(judge: Judge) -> None:
    answers = judge.detect([GOOD, *BROKEN.values(), np.asarray(GOOD)])
    first, last = answers[0], answers[-1]
    assert isinstance(first, Labels) and isinstance(last, Labels)
    assert last.scores == pytest.approx(first.scores, abs=1e-4)  # another row of one batch
    assert replace(last, scores=first.scores) == first
    for what, answer in zip(BROKEN, answers[1:-1], strict=True):
        assert isinstance(answer, Unscored), what
        assert judge.verdict(answer, WEAPONS).unsafe is None
    assert judge.detect([]) == []


def test_a_truncated_file_is_unscored(judge: Judge, tmp_path: Any) -> None:
    path = tmp_path / "torn.png"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:200])
    with Image.open(path) as torn:
        assert isinstance(judge.detect([torn])[0], Unscored)


def test_identity_names_it_and_its_settings(judge: Judge) -> None:
    assert judge.identity.startswith(f"{judge.name} {judge.version}")
    assert all(key in judge.identity for key in judge.settings)


def test_batches_do_not_matter(judge: Judge) -> None:
    pictures = [Image.new("RGB", (48, 48), (40 * k, 90, 200 - 30 * k)) for k in range(4)]
    singles = [judge.detect([picture])[0] for picture in pictures]
    for whole, single in zip(judge.detect(pictures), singles, strict=True):
        assert isinstance(whole, Labels)
        assert isinstance(single, Labels)
        assert whole.objects == single.objects
        assert whole.scores == pytest.approx(single.scores, abs=1e-3)  # by how kernels round, 1.1e-4 at two threads


def test_the_trivial_judges_say_always_the_same() -> None:
    for name, unsafe in (("always_safe", False), ("always_unsafe", True)):
        judge = registry.get("judges", name)()
        assert judge.verdict(judge.detect([GOOD])[0], WEAPONS).unsafe is unsafe


class Fails(Judge):
    """Fails on dark pictures, and by that on every batch that holds one."""

    name, version = "fails", "1"

    def look(self, images: list[Image.Image]) -> list[Labels]:
        if any(np.asarray(image).max() < 10 for image in images):
            raise RuntimeError("too dark")
        return [Labels(("knife",), None, None, {"knife": 1.0}) for _ in images]


def test_a_judge_that_fails_on_one_picture_leaves_the_others_scored() -> None:
    labels = Fails().detect([GOOD, Image.new("RGB", (48, 48)), GOOD])
    assert [isinstance(answer, Unscored) for answer in labels] == [False, True, False]
    assert Fails().verdict(labels[0], WEAPONS).found == ("knife",)
    assert "too dark" in Fails().verdict(labels[1], WEAPONS).reason


def test_a_concept_that_the_judge_does_not_know_is_undecided() -> None:
    concept = load_concept({"name": "x", "kind": "object", "targets": ["a violin"], "labels": ["violin"]})
    verdict = Fails().verdict(Fails().detect([GOOD])[0], concept)
    assert verdict.unsafe is None
    assert "knows none of the labels" in verdict.reason


@pytest.mark.parametrize("size", [(1, 1), (1, 48), (48, 7)])
def test_what_shows_nothing_is_unscored_and_not_safe(judge: Judge, size: tuple[int, int]) -> None:
    (answer,) = judge.detect([Image.new("RGB", size)])
    assert isinstance(answer, Unscored)
    assert "show nothing" in answer.reason


def test_a_concept_of_which_the_judge_knows_a_part_is_undecided_unless_that_is_found() -> None:
    labels = ("knife", "violin")
    concept = load_concept({"name": "x", "kind": "object", "targets": ["a violin"], "labels": labels})
    seen = Labels(("knife",), None, None, {"knife": 1.0})
    assert Fails().verdict(seen, concept).unsafe is True
    verdict = Fails().verdict(Labels((), None, None, {"knife": 0.0}), concept)
    assert verdict.unsafe is None
    assert "does not know violin" in verdict.reason


class Answers(Judge):
    """Says what it is told to say."""

    name, version = "answers", "1"

    def __init__(self, labels: Any) -> None:
        self.labels = labels

    def look(self, images: list[Image.Image]) -> list[Labels]:
        return [self.labels for _ in images]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 60.0, -1.0])
def test_a_score_that_is_none_is_unscored(score: float) -> None:
    (answer,) = Answers(Labels((), None, None, {"knife": score})).detect([GOOD])
    assert isinstance(answer, Unscored)
    assert isinstance(Answers("knife").detect([GOOD])[0], Unscored)


def test_a_label_is_found_however_it_is_spelt() -> None:
    apart, together = "cafe\u0301", "caf\u00e9"
    concept = load_concept({"name": "x", "kind": "object", "targets": ["a"], "labels": [together]})
    judge = Answers(Labels((apart,), None, None, {apart: 1.0}))
    assert judge.verdict(judge.detect([GOOD])[0], concept).found == (together,)
