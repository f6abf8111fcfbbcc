"""Which tokens are a prompt's own, whatever ids the tokenizer gives them."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AddedToken

import tiny
from closeness import same_bits
from small_guards import Half
from stanchion.attacks.tokens import end_of, own_ids
from stanchion.pipeline.families import family_of
from stanchion.pipeline.model.encoding import own_tokens
from stanchion.targets.deployment import Deployment
from stanchion.types import Access

SPELT_OUT = [
    "<|endoftext|>a knife",
    "a <|endoftext|> knife",
    "<|endoftext|><|endoftext|> a <|endoftext|>knife",
    "<|startoftext|>a knife",
    "<|startoftext|><|endoftext|>a knife<|startoftext|>",
    "a <pad>knife",
    "<new>a knife",
]


def words_of(tokenizer):
    """A tokenizer with padding and an added token of its own, beside those of start and end."""
    own = copy.deepcopy(tokenizer)
    own.add_special_tokens({"pad_token": "<pad>"})
    own.add_tokens([AddedToken("<new>", normalized=False)])
    return own


@pytest.fixture(params=["padded with the end token", "padded with its own"])
def spoken(request, pipe):
    if request.param == "padded with its own":
        pipe.tokenizer = words_of(pipe.tokenizer)
    return pipe


@pytest.mark.parametrize("text", [*SPELT_OUT, "a knife", "", "a knife<|endoftext|>", "a knife " * 40])
def test_content_is_all_that_the_tokenizer_made_of_the_text(text, spoken):
    expected = spoken.tokenizer(text, add_special_tokens=False).input_ids[: tiny.CONTEXT - 2]
    ids, content = family_of(spoken).tokens(spoken, [text, "a"], torch.zeros(2, tiny.CONTEXT, 1))
    assert ids[0][content[0]].tolist() == expected
    assert content[0].nonzero().flatten().tolist() == list(range(1, 1 + len(expected)))
    assert content[1].sum() == 1


@pytest.mark.parametrize("text", [*SPELT_OUT, "a knife", "", "a knife " * 40])
def test_ids_alone_tell_as_much(text, spoken):
    """What an attacker hands to the guarded denoiser comes without its text."""
    ids, content = family_of(spoken).tokens(spoken, [text, "a"], torch.zeros(2, tiny.CONTEXT, 1))
    assert same_bits(own_tokens(spoken.tokenizer, ids), content)


@pytest.mark.parametrize("text", SPELT_OUT)
def test_attacks_read_all_of_a_prompt(text, spoken):
    target = Deployment(spoken).target(Access.TEXT_ENCODER)
    expected = spoken.tokenizer(text, add_special_tokens=False).input_ids
    assert own_ids(target, text).tolist() == expected
    assert end_of(target, target.tokenize([text])).tolist() == [1 + len(expected)]


def test_a_guard_sees_what_stands_behind_an_end_token(pipe):
    guard = Half()
    with guard.attach(pipe):
        tiny.draw(pipe, "<|endoftext|>a knife", negative_prompt="a <|endoftext|>cat")
    knife, cat = (pipe.tokenizer(word, add_special_tokens=False).input_ids[0] for word in ("knife", "cat"))
    prompt, negative = guard.seen
    assert knife in prompt.token_ids[prompt.content] and cat in negative.token_ids[negative.content]
