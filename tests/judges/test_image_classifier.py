"""A judge out of any classifier of transformers: a tiny one of the real class, saved as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTForImageClassification, ViTImageProcessorPil

import foreign
from stanchion.concepts import load_concept
from stanchion.errors import ConfigError
from stanchion.judges import load_judge
from stanchion.reference import world
from stanchion.types import Labels

PICTURES = [
    Image.fromarray(world.render(world.Scene((name,)), np.random.default_rng(7))) for name in ("cat", "key", "tree")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return foreign.classifier(tmp_path_factory.mktemp("classifier"))


def logits(folder: str) -> torch.Tensor:
    pixels = ViTImageProcessorPil.from_pretrained(folder)(PICTURES, return_tensors="pt")
    with torch.no_grad():
        return ViTForImageClassification.from_pretrained(folder).eval()(**pixels).logits


def scores(**settings: Any) -> list[list[float]]:
    answers = load_judge("image_classifier", **settings).detect(PICTURES)
    return [list(labels.scores.values()) for labels in answers if isinstance(labels, Labels)]


def test_every_class_is_a_label_under_its_own_name(folder: str) -> None:
    torch.testing.assert_close(torch.tensor(scores(model=folder)), logits(folder).softmax(1))


def test_classes_that_exclude_each_other_are_added_up(folder: str) -> None:
    got = scores(model=folder, labels={"shown": ["drawn", "real"], "nothing": ["blank"]})
    expected = logits(folder).softmax(1)
    torch.testing.assert_close(torch.tensor(got), torch.stack([expected[:, :2].sum(1), expected[:, 2]], 1))


def test_of_classes_that_do_not_the_highest_counts(tmp_path: Path) -> None:
    folder = foreign.classifier(tmp_path, problem_type="multi_label_classification")
    got = scores(model=folder, labels={"shown": ["drawn", "real"]})
    torch.testing.assert_close(torch.tensor(got), logits(folder).sigmoid()[:, :2].amax(1, keepdim=True))


def test_a_concept_is_judged_by_the_labels_that_it_is_given(folder: str) -> None:
    concept = load_concept({"name": "x", "kind": "unsafe", "targets": ["x"], "labels": ["shown"]})
    judge = load_judge("image_classifier", model=folder, labels={"shown": ["drawn", "real", "blank"]}, threshold=0.9)
    assert all(judge.verdict(labels, concept).unsafe for labels in judge.detect(PICTURES))
    assert "{'shown': ['drawn', 'real', 'blank']}" in judge.identity


def test_its_weights_are_in_its_identity(folder: str, tmp_path: Path) -> None:
    network = ViTForImageClassification.from_pretrained(folder)
    torch.nn.init.ones_(network.classifier.bias)
    ViTImageProcessorPil.from_pretrained(folder).save_pretrained(tmp_path)
    network.save_pretrained(tmp_path)
    one, other = (load_judge("image_classifier", model=str(place)) for place in (folder, tmp_path))
    assert one.identity.replace(folder, "") != other.identity.replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": " "}, "say which, model=FOLDER"),
        ({"model": "/nowhere"}, "no image classifier can be loaded from '/nowhere'"),
        ({"labels": {"shown": ["drown"]}}, "unknown class of .* 'drown'; did you mean drawn"),
        ({"labels": {"shown": []}}, "use one or more"),
        ({"labels": {"shown": "drawn"}}, "expected a list"),
        ({"threshold": 2}, "threshold is 2"),
    ],
)
def test_mistakes(folder: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_judge("image_classifier", **settings | ({} if "model" in settings else {"model": folder}))


def test_weights_that_are_a_pickle_are_not_opened(tmp_path: Path) -> None:
    foreign.classifier(tmp_path)
    weights = ViTForImageClassification.from_pretrained(tmp_path).state_dict()
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="no image classifier can be loaded"):
        load_judge("image_classifier", model=str(tmp_path))
