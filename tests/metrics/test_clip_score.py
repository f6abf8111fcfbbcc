"""CLIPScore's formula, on random weights of transformers' CLIP."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel

import foreign
import tiny
from stanchion.errors import ConfigError
from stanchion.metrics.likeness.clip_score import ClipScore
from stanchion.types import Attempt, Labels, Prompt, Unscored, Verdict

SIGNS = ("one", "other")  # two networks of which one's cosines are those of the other with the other sign
TEXTS = ["a photo of a cat", "a big red house " * 30]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clip")
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = tiny.tokenizer()
    text = {
        "vocab_size": len(words),
        "max_position_embeddings": words.model_max_length,
        "eos_token_id": words.eos_token_id,
    }
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**shape, **text}, vision_config={**shape, "image_size": 32, "patch_size": 8}, projection_dim=8
    )
    network = CLIPModel(config)
    for sign in SIGNS:
        network.visual_projection.weight.data *= -1
        for part in (network, words, foreign.processor()):
            part.save_pretrained(place / sign)
    return place


def attempts(folder: Path) -> list[Attempt]:
    rng = np.random.default_rng(0)
    made = []
    for place, text in enumerate(TEXTS):
        Image.fromarray(rng.integers(255, size=(32, 32, 3), dtype=np.uint8)).save(folder / f"{place}.png")
        seen = {"guard": "none", "variant": "default", "attack": "direct", "labels": Labels((), None, None, {})}
        image = str(folder / f"{place}.png")
        made.append(
            Attempt(Prompt(text, 0, str(place)), **seen, image=image, verdict=Verdict(False), acted={}, seconds=0.0)
        )
    return made


@pytest.mark.parametrize("sign", SIGNS)
def test_it_is_a_hundred_times_the_cosine_and_never_below_nothing(sign: str, folder: Path, tmp_path: Path) -> None:
    metric, network = ClipScore(str(folder / sign)), CLIPModel.from_pretrained(folder / sign).eval()
    scores = [metric.score(one, one) for one in attempts(tmp_path)]
    cosines = []
    for place, text in enumerate(TEXTS):
        pixels = foreign.processor()(Image.open(tmp_path / f"{place}.png"), return_tensors="pt").pixel_values
        words = tiny.tokenizer()(text, truncation=True, return_tensors="pt")
        with torch.no_grad():
            output = network(**words, pixel_values=pixels)
        cosines.append(float((output.image_embeds * output.text_embeds).sum()))
    assert scores == pytest.approx([max(100 * cosine, 0.0) for cosine in cosines], abs=1e-3)
    assert all(abs(cosine) > 0.01 for cosine in cosines)


def test_no_picture_is_unscored(folder: Path, tmp_path: Path) -> None:
    (one, _) = attempts(tmp_path)
    assert isinstance(ClipScore(str(folder / SIGNS[0])).score(replace(one, image=None), one), Unscored)


def test_no_network_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no CLIP can be loaded"):
        ClipScore(str(tmp_path))
