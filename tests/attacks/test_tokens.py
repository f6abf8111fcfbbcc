"""Token ids as searches handle them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from closeness import same_bits
from stanchion.attacks.encoder._concept_vector import concept_vector, pairs
from stanchion.attacks.tokens import WordFilter, end_of, framed, free_ids, own_ids, swap_gradient, swapped, words_of
from stanchion.concepts import load_concept
from stanchion.errors import ConfigError
from stanchion.targets.deployment import Deployment
from stanchion.types import Access

WEAPONS = load_concept("weapons")


@pytest.fixture
def target(pipe: Any) -> Any:
    return Deployment(pipe, steps=2).target(Access.TEXT_ENCODER)


def test_a_text_is_taken_apart_and_put_together(target: Any) -> None:
    text = "a photo of a knife and a cat"
    own = own_ids(target, text)
    assert len(own) == 8 and target.words(own[None]) == [text]
    assert same_bits(framed(target, own[None]), target.tokenize([text]))
    assert end_of(target, target.tokenize([text, "a cat"])).tolist() == [9, 3]


def test_too_many_tokens_are_refused(target: Any) -> None:
    assert framed(target, free_ids(target)[: tiny.CONTEXT - 2][None]).shape == (1, tiny.CONTEXT)
    with pytest.raises(ConfigError, match="47 tokens"):
        framed(target, free_ids(target)[: tiny.CONTEXT - 1][None])


def test_words_of_a_concept() -> None:
    assert {"knife", "weapon", "sword"} <= set(words_of(WEAPONS))
    assert not {"a", "an"} & set(words_of(WEAPONS))


def test_a_filter_leaves_no_token_with_a_forbidden_word(target: Any) -> None:
    words = WordFilter.of(target, WEAPONS)
    texts = target.words(words.free[:, None])
    assert not any(stem in text for text in texts for stem in words_of(WEAPONS))
    assert "frog" in texts and len(texts) < len(free_ids(target))


def test_pieces_that_make_a_forbidden_word_are_left_out(target: Any) -> None:
    """No token of "g" "un" says it, both together do; and what reads back shorter is another prompt."""
    vocabulary = tiny.tokenizer().get_vocab()
    fine, caught, shorter = (
        [vocabulary[piece] for piece in pieces.split()]
        for pieces in ("cat</w> dog</w> car</w>", "g u n</w>", "c a r</w>")
    )
    whole = torch.tensor([fine, caught, shorter])
    assert target.words(whole) == ["cat dog car", "gun", "car"]
    assert WordFilter.of(target, WEAPONS).readable(whole).tolist() == [fine]


def test_exchanges_are_of_one_token_to_one_of_the_best_in_every_place_alike(target: Any) -> None:
    generator, free = torch.Generator().manual_seed(0), free_ids(target)
    own, gradient = free[:4], torch.randn(4, len(target.token_embeddings), generator=generator)
    rows = swapped(own, gradient, free, 3, 40, generator)
    best = free[(-gradient[:, free]).topk(3).indices]
    for row, place in zip(rows, [n * 4 // 40 for n in range(40)], strict=True):
        assert row[place] in best[place]
        assert [n for n in range(4) if row[n] != own[n]] in ([place], [])


def test_the_gradient_of_an_exchange_is_that_of_the_one_hot_choice(target: Any) -> None:
    ids, table = target.tokenize(["a photo of a cat"]), target.token_embeddings
    choice = torch.nn.functional.one_hot(ids, len(table)).to(table).requires_grad_()

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return target.encode(token_embeds=rows).square().sum()

    (expected,) = torch.autograd.grad(loss(choice @ table), choice)
    assert torch.allclose(swap_gradient(target, ids, loss), expected[0], atol=1e-4)


def test_concept_vector_is_the_mean_difference_of_pairs(target: Any) -> None:
    both = pairs(WEAPONS)
    assert ("a photo of a knife", "a photo of a cat") in both
    assert ("a cat in ink style", "a cat in flat style") in pairs(load_concept("ink"))
    vector = concept_vector(target, WEAPONS)
    named, instead = (target.encode(target.tokenize(list(texts))) for texts in zip(*both, strict=True))
    assert torch.allclose(vector, (named - instead).mean(0), atol=1e-5)
