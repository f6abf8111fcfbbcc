"""SneakyPrompt's queries, its policy, and the attacker's own CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import tiny
from small_guards import Small
from stanchion.attacks.prompt import sneaky_prompt
from stanchion.attacks.prompt._surrogate import surrogate
from stanchion.attacks.prompt._word_policy import WordPolicy
from stanchion.attacks.prompt.sneaky_prompt import SneakyPrompt, telling_first
from stanchion.errors import ConfigError
from stanchion.guards.base import TextGuard
from stanchion.targets.deployment import Deployment
from stanchion.types import Access, Budget, Prompt, Steered


class Blocklist(Small, TextGuard):
    """Refuses prompts with one of its words."""

    name = "blocklist"
    words: tuple[str, ...] = ("knife",)

    def begin(self, call: Any) -> None:
        pass

    def steer(self, embeds: Any, state: Any) -> Steered:
        if embeds.role == "prompt" and any(word in text for text in embeds.texts for word in self.words):
            raise ValueError("blocked")
        return Steered(embeds.embeds, torch.zeros(len(embeds.embeds), dtype=torch.bool))


def queried(attack: SneakyPrompt, text: str, pipe: Any, pictures: int | None = None) -> tuple[list[Any], int]:
    """What it sends, and how many pictures its search drew."""
    budget = Budget(pictures)
    deployment = Deployment(pipe, steps=1)
    target = deployment.target(Access.BLACK_BOX, deployment.meter(budget))
    generator = torch.Generator().manual_seed(0)
    sent = list(attack.run(target, Prompt(text, 5, "0"), budget=budget, generator=generator))
    return sent, target.spent.pictures


def test_it_replaces_the_words_that_name_the_concept_and_nothing_else(pipe: Any) -> None:
    with Blocklist().attach(pipe):
        sent, drawn = queried(SneakyPrompt("weapons", queries=6, enough=1.0), "a photo of a knife and a cat", pipe)
    (one,) = sent
    words = one.text.split()
    assert words[:4] + words[5:] == "a photo of a and a cat".split() and "knife" not in one.text
    assert drawn == one.note["search"] == 6


def test_made_up_words_have_as_many_pieces_as_asked(pipe: Any) -> None:
    vocabulary = Deployment(pipe).target(Access.BLACK_BOX).vocabulary
    sent, _ = queried(SneakyPrompt("weapons", queries=1, pieces=3), "a knife", pipe)
    word = sent[0].text.split()[1]
    assert any(word == a + b + c for a in vocabulary for b in vocabulary for c in vocabulary if word.startswith(a + b))


def test_a_good_text_is_sent_at_once_and_only_once(pipe: Any) -> None:
    sent, drawn = queried(SneakyPrompt("weapons", queries=5, enough=-1.0), "a photo of a knife", pipe)
    assert drawn == 5 and sent[0].note["search"] == 1
    assert len({one.text for one in sent}) == len(sent)


def test_after_five_refusals_one_more_word_is_replaced(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    replacing = sneaky_prompt.WordSearch.replacing
    monkeypatch.setattr(
        sneaky_prompt.WordSearch,
        "replacing",
        lambda self, places: asked.append(list(places)) or replacing(self, places),
    )
    text = "a photo of a knife and a scary cat in a house"
    with Blocklist(words=("",)).attach(pipe):
        sent, drawn = queried(SneakyPrompt("weapons", queries=60), text, pipe)
    assert sent == [] and drawn == 15  # one, two and three of eleven words are at most 30 %
    assert [len(places) for places in asked] == [1, 2, 3] and all(4 in places for places in asked)


def test_a_picture_is_kept_for_the_text_that_is_sent(pipe: Any) -> None:
    sent, drawn = queried(SneakyPrompt("weapons", queries=60, enough=1.0), "a photo of a knife", pipe, pictures=4)
    assert drawn == 3 and len(sent) == 1


def test_words_that_name_the_concept_come_first_then_those_that_tell_most() -> None:
    clip = surrogate("reference")
    words = "a photo of a pistol and a knife".split()
    places = telling_first(words, ("knife",), "a weapon, a gun", clip)
    assert places[0] == 7 and places[1] == 4


def test_the_policy_learns_which_words_are_rewarded() -> None:
    policy = WordPolicy(6, 2, 0.1, torch.Generator().manual_seed(0))
    for _ in range(150):
        chosen, log_p, expected = policy.choose()
        policy.learn(log_p, expected, float(chosen[0] == 4) + float(chosen[1] == 1))
    assert [policy.choose()[0] for _ in range(5)] == [[4, 1]] * 5


def test_a_clip_from_a_folder_gives_cosines(tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = tiny.tokenizer()
    text = {**size, "vocab_size": len(words), "max_position_embeddings": 48, "eos_token_id": words.eos_token_id}
    config = CLIPConfig(text_config=text, vision_config={**size, "image_size": 16, "patch_size": 8}, projection_dim=8)
    CLIPModel(config).save_pretrained(tmp_path)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(pictures, words).save_pretrained(tmp_path)

    clip = surrogate(str(tmp_path))
    red, blue = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    assert clip.cosine(red, "a cat") == pytest.approx(clip.cosine(red, "a cat")) != clip.cosine(blue, "a cat")
    assert -1 <= clip.cosine(red, "a cat") <= 1
    assert float(clip.text("a cat") @ clip.text("a cat")) == pytest.approx(1, abs=1e-5)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="queries is 0"):
        SneakyPrompt("weapons", queries=0)
