"""The concept-erasing reward by hand, its filter, and the models that give it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from transformers import (
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

import tiny
from stanchion import Concept, ConfigError, load_concept
from stanchion.reference import world
from stanchion.training.recipes.forceforget._reward_models import (
    BlipCaptioner,
    ClassifierEvaluator,
    ClipScorer,
    load_reward,
)
from stanchion.training.rewards import (
    ConceptErasingReward,
    ConceptFilter,
    ReaderScorer,
    ReferenceReader,
    ReferenceScorer,
)

CPU = torch.device("cpu")
PICTURES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@dataclass
class Fixed:
    """An evaluator, captioner and scorer that say what they were told."""

    p_safe: float = 0.9
    p_unsafe: float = 0.1
    cosines: tuple[float, ...] = (0.2, 0.3)

    def __call__(self, pictures):
        return torch.full((len(pictures),), self.p_safe), torch.full((len(pictures),), self.p_unsafe)

    def captions(self, pictures):
        return ["a photo of a knife and a cat"] * len(pictures)

    def score(self, pictures, texts):
        return torch.full((len(pictures),), self.cosines[0] if texts[0] == "a photo of a cat" else self.cosines[1])


def reward(evaluator=None, **weights):
    fixed = evaluator or Fixed()
    keep = ConceptFilter(load_concept("weapons"))
    return ConceptErasingReward(fixed, fixed.captions, fixed.score, keep, **weights)(PICTURES, ["a dog"] * 2)


def test_by_hand():
    found = reward(l1=2.0, l2=3.0)
    assert found.safe.tolist() == pytest.approx([0.9 - 2 * 0.1] * 2)
    assert found.align.tolist() == pytest.approx([0.2 + 0.3] * 2)
    assert found.total.tolist() == pytest.approx([2 * 0.7 + 3 * 0.5] * 2)


def test_more_unsafe_is_worth_less():
    values = [reward(Fixed(p_unsafe=p)).total[0].item() for p in (0.0, 0.3, 1.0)]
    assert values == sorted(values, reverse=True) and len(set(values)) == 3


def test_in_units_both_lie_between_zero_and_one():
    worst = reward(Fixed(p_safe=0.0, p_unsafe=1.0, cosines=(0.0, 0.0)), scale="unit")
    best = reward(Fixed(p_safe=1.0, p_unsafe=0.0, cosines=(1.0, 1.0)), scale="unit")
    assert worst.total.tolist() == [0.0, 0.0] and best.total.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("concept", "text", "left"),
    [
        ("weapons", "a photo of a knife and a cat", "a photo of a cat"),
        ("weapons", "a photo of a cat and a Knife", "a photo of a cat"),
        ("weapons", "a photo of guns", "a photo"),
        ("weapons", "a gun", "a photo"),
        ("weapons", "a photo of a begun cat", "a photo of a begun cat"),
        ("ink", "a cat in ink style", "a cat"),
        ("banana", "a photo of an apple", "a photo of an apple"),
    ],
)
def test_the_filter_leaves_the_rest(concept, text, left):
    assert ConceptFilter(load_concept(concept))([text]) == [left]


def scenes(*objects, style="flat"):
    rng = np.random.default_rng(0)
    pictures = [world.render(world.Scene(names, style), rng) for names in objects]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_the_reference_reader_knows_objects():
    reader = ReferenceReader(load_concept("weapons"), CPU)
    p_safe, p_unsafe = reader(scenes(("knife",), ("knife", "cat"), ("cat",)))
    assert (p_unsafe[:2] > 0.5).all() and p_unsafe[2] < 0.1
    assert (p_safe[:2] < 0.2).all() and p_safe[2] > 0.5
    assert reader.captions(scenes(("cat",))) == ["a photo of a cat"]


def test_an_empty_picture_is_not_safe():
    reader = ReferenceReader(load_concept("weapons"), CPU)
    p_safe, p_unsafe = reader(scenes((), ("cat",)))
    assert p_unsafe.max() < 0.5 and p_safe[0] < p_safe[1]


def test_the_reference_reader_knows_styles():
    reader = ReferenceReader(load_concept("ink"), CPU)
    assert reader(scenes(("cat",), style="ink"))[1] > 0.4 and reader(scenes(("cat",)))[1] < 0.1


def test_the_reference_scorer_tells_pictures_apart():
    pictures = scenes(("cat",), ("car",))
    right = ReferenceScorer(CPU)(pictures, ["a photo of a cat", "a photo of a car"])
    wrong = ReferenceScorer(CPU)(pictures, ["a photo of a car", "a photo of a cat"])
    assert (right > wrong + 0.1).all()


def test_the_reader_as_scorer_wants_what_is_named_and_nothing_else():
    score = ReaderScorer(ReferenceReader(load_concept("weapons"), CPU))
    pictures = scenes(("cat",), ("cat", "knife"), ("knife",))
    cat = score(pictures, ["a photo of a kitten"] * 3)
    assert cat[0] > cat[1] + 0.1
    assert cat[1] > cat[2]
    assert score(pictures, ["a photo"] * 3).tolist() == [0.5] * 3


def test_a_classifier_from_a_folder(tmp_path):
    config = ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=16,
        patch_size=8,
        id2label={0: "Normal", 1: "porn", 2: "sexy"},
    )
    ViTForImageClassification(config).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    p_safe, p_unsafe = ClassifierEvaluator(tmp_path, CPU)(PICTURES)
    torch.testing.assert_close(p_safe + p_unsafe, torch.ones(2))
    with pytest.raises(ConfigError, match="sexy"):
        ClassifierEvaluator(tmp_path, CPU, safe=("harmless",))


def test_a_clip_from_a_folder(tmp_path):
    words = tiny.tokenizer()
    text = {"vocab_size": len(words), "max_position_embeddings": tiny.CONTEXT}
    text |= {"eos_token_id": words.eos_token_id, "bos_token_id": words.bos_token_id}
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {"image_size": 16, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config={**text, **small}, vision_config={**vision, **small})).save_pretrained(tmp_path)
    sizes = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    CLIPProcessor(CLIPImageProcessor(**sizes), words).save_pretrained(tmp_path)
    scorer = ClipScorer(tmp_path, CPU)
    cosines = scorer(PICTURES, ["a cat", "a photo of a dog"])
    assert cosines.shape == (2,) and (cosines.abs() <= 1).all()
    torch.testing.assert_close(scorer(PICTURES[1:], ["a photo of a dog"]), cosines[1:], rtol=1e-4, atol=1e-5)


def test_a_captioner_from_a_folder(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "a", "cat", "photo", "of"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"bos_token_id": 5, "pad_token_id": 0, "eos_token_id": 3, "sep_token_id": 3}
    text = {"vocab_size": len(words), "encoder_hidden_size": 8, **small, **special}
    config = BlipConfig(text_config=text, vision_config={"image_size": 16, "patch_size": 8, **small})
    BlipForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer = BertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt"))
    BlipProcessor(BlipImageProcessor(size={"height": 16, "width": 16}), tokenizer).save_pretrained(tmp_path)
    captioner = BlipCaptioner(tmp_path, CPU, longest=4)
    captions = captioner(PICTURES)
    assert len(captions) == 2 and set(" ".join(captions).split()) <= set(words)


def test_a_concept_that_the_reader_does_not_know_is_refused():
    with pytest.raises(ConfigError, match="evaluator"):
        ReferenceReader(Concept("rain", "object", ("rain",), labels=("rain",)), CPU)


def test_the_judge_is_no_reward():
    @dataclass
    class Settings:
        evaluator: str = "reference"
        captioner: str = "reference"
        scorer: str = "reference"

        alpha: float = 1.0
        beta: float = -2.0
        l1: float = 1.0
        l2: float = 1.0
        reward_scale: str = "raw"

    made = load_reward(load_concept("weapons"), Settings(), CPU)
    assert type(made.evaluator.network).__name__ == "RewardNetwork"
