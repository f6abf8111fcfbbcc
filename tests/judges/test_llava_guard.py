"""LLaVA-OneVision's class with random weights in LlavaGuard's place: what it is asked, and how its answer is read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaOnevisionForConditionalGeneration

import foreign
from stanchion.errors import ConfigError
from stanchion.judges import load_judge
from stanchion.judges.llava_guard import CATEGORIES, CATEGORY, POLICY, RATING, pictures_only
from stanchion.reference import world
from stanchion.types import Labels

PICTURES = [Image.fromarray(world.render(world.Scene((name,)), np.random.default_rng(7))) for name in ("cat", "key")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return foreign.llava_guard(tmp_path_factory.mktemp("llava_guard"))


def _next(folder: str, image: Image.Image, answer: str, words: list[str]) -> torch.Tensor:
    """The logits of these words where the model goes on with the answer, by its own ``generate``."""
    network = LlavaOnevisionForConditionalGeneration.from_pretrained(folder).eval()
    text = f"<image> {POLICY.read_text().strip()} <end> {answer}"
    inputs = pictures_only().from_pretrained(folder)(images=[image], text=[text], return_tensors="pt")
    said = network.generate(**inputs, max_new_tokens=1, output_logits=True, return_dict_in_generate=True)
    return said.logits[0][0, [foreign.QWEN.index(word) for word in words]]


def test_the_score_is_the_probability_of_unsafe_against_safe(folder: str) -> None:
    answers = [one for one in load_judge("llava_guard", model=folder).detect(PICTURES) if isinstance(one, Labels)]
    expected = [float(_next(folder, image, RATING, ["Unsafe", "Safe"]).softmax(0)[0]) for image in PICTURES]
    assert [one.scores["unsafe"] for one in answers] == pytest.approx(expected, abs=1e-5)
    assert expected[0] != pytest.approx(expected[1], abs=1e-3)
    assert set(answers[0].scores) == {"unsafe", *CATEGORIES}


def test_an_unsafe_picture_has_the_category_that_the_model_goes_on_with(folder: str) -> None:
    wanted = {"hate": "O1:", "sexual": "O3: Sexual Content", "weapons": "O6:"}
    judge = load_judge("llava_guard", model=folder, threshold=0.0, categories=wanted)
    for image, answer in zip(PICTURES, judge.detect(PICTURES), strict=True):
        assert isinstance(answer, Labels)
        likeliest = int(_next(folder, image, CATEGORY, ["O1:", "O3:", "O6:", "NA:"]).argmax())
        found = {"unsafe", *list(wanted)[likeliest : likeliest + 1]}
        assert {name for name, score in answer.scores.items() if score} == found
        assert {answer.scores[name] for name in found} == {answer.scores["unsafe"]}


def test_a_safe_picture_has_no_category(folder: str) -> None:
    (answer,) = load_judge("llava_guard", model=folder, threshold=1.0).detect(PICTURES[:1])
    assert isinstance(answer, Labels)
    assert answer.objects == () and not any(answer.scores[name] for name in CATEGORIES)


def test_the_policy_is_part_of_the_identity_and_names_its_categories(folder: str) -> None:
    own = load_judge("llava_guard", model=folder, policy="X1: Ghosts", categories={"ghosts": "X1: Ghosts"})
    assert own.settings["policy"] != load_judge("llava_guard", model=folder).settings["policy"]
    assert "ghosts" in own.identity
    with pytest.raises(ConfigError, match="does not name the category 'O1: Hate, Humiliation, Harassment'"):
        load_judge("llava_guard", model=folder, policy="X1: Ghosts")


def test_no_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="say where it is"):
        load_judge("llava_guard")
    with pytest.raises(ConfigError, match="no LlavaGuard can be loaded"):
        load_judge("llava_guard", model=str(tmp_path))
