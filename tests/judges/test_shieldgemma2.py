"""ShieldGemma 2's classes with random weights: a label's score is the probability that its policy is violated."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, ShieldGemma2ForImageClassification

import foreign
from closeness import near
from stanchion.errors import ConfigError
from stanchion.judges import load_judge
from stanchion.reference import world
from stanchion.types import Labels

PICTURES = [Image.fromarray(world.render(world.Scene((name,)), np.random.default_rng(7))) for name in ("cat", "key")]
POLICIES = {"weapons": "no weapons", "ghosts": "no ghosts"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return foreign.shieldgemma2(tmp_path_factory.mktemp("shieldgemma2"))


def test_a_label_s_score_is_the_probability_of_yes(folder: str) -> None:
    judge = load_judge("shieldgemma2", model=folder, policies=POLICIES)
    network = ShieldGemma2ForImageClassification.from_pretrained(folder).eval()
    inputs = AutoProcessor.from_pretrained(folder)(
        images=PICTURES, policies=list(POLICIES), custom_policies=POLICIES, return_tensors="pt", padding=True
    )
    with torch.no_grad():
        yes, no = network.model(**inputs).logits[:, -1, [foreign.GEMMA.index("Yes"), foreign.GEMMA.index("No")]].T
    answers = [labels for labels in judge.detect(PICTURES) if isinstance(labels, Labels)]
    scores = torch.tensor([[labels.scores[name] for name in POLICIES] for labels in answers])
    assert near(scores, torch.sigmoid(yes - no).view(2, 2))
    assert scores.std() > 0
    assert answers[0].objects == tuple(name for name, score in answers[0].scores.items() if score >= 0.5)


def test_without_policies_they_are_the_model_s_own(folder: str) -> None:
    judge = load_judge("shieldgemma2", model=folder, threshold=0.7)
    assert list(judge.settings["policies"]) == ["dangerous", "sexual", "violence"]
    assert judge.settings["threshold"] == 0.7


def test_no_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="say where it is"):
        load_judge("shieldgemma2")
    with pytest.raises(ConfigError, match="no ShieldGemma 2 can be loaded"):
        load_judge("shieldgemma2", model=str(tmp_path))
