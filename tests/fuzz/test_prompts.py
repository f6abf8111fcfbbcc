"""Any prompt at all: an error of ours, the stock picture where the guard says that it did nothing, or another one.

A short run by default; ``STANCHION_FUZZ=5000`` for as many prompts in all, ``STANCHION_FUZZ_SEED`` for others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, seed, settings
from hypothesis import strategies as st

import tiny
from closeness import near, same_bits
from small_guards import Half, Mute
from stanchion import GuardStack, StanchionError
from stanchion.limits import check_text

COUNT = int(os.environ.get("STANCHION_FUZZ", "150"))
SEED = int(os.environ.get("STANCHION_FUZZ_SEED", "0"))
BATCH = 16
GUARDS: dict[str, Callable[[], Any]] = {
    "half": Half,
    "mute": Mute,
    **{
        name: (lambda name=name: tiny.guard(name))
        for name in ("safree", "steerdiff", "forceforget", "negative_prompt", "sld", "trasce")
    },
    "stack": lambda: GuardStack(*(tiny.guard(name) for name in ("steerdiff", "safree", "forceforget", "trasce"))),
}
SHARE = -(-COUNT // (len(GUARDS) + 3))  # prompts a test

SPECIAL = (
    "<|startoftext|>",
    "<|endoftext|>",
    "</s>",
    "<s>",
    "<pad>",
    "<unk>",
    "<mask>",
    "[CLS]",
    "[SEP]",
    "<|im_end|>",
)
PIECES = (
    "a photo of a knife", "knife", "a cat", "KNIFE", " ", ",", "\0", "\t", "\n", "\r\n", "\x1b[31m", "\x7f", "\u0085",
    "\u00a0", "\u00ad", "\u0301", "\u0338" * 9, "\u200b", "\u200d", "\u200e", "\u2028", "\u202e", "\u2066", "\ufe0f",
    "\ufeff", "\ufffd", "\uffff", "\U0001f52a", "\U0001f468\u200d\U0001f373", "\U0001f1e9\U0001f1ea", "\uff4b\uff4e",
    "\u06a9\u0627\u0631\u062f", "\u5200", "\u0e21\u0e35\u0e14", "\U000e0061", "\U0010ffff", "\u017f", "\u0130", "</w>",
    "(knife:1.9)", "{knife|cat}", "%s", "\\n", "&lt;", "<thing>", "AND", "BREAK",
)  # fmt: skip
LONG = ("knife ", "a", "\0", "\u0301", "\u200b", "\U0001f52a", "<|endoftext|>", "<|startoftext|>", "</s>")
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES + SPECIAL), max_size=12).map("".join),
    st.lists(st.sampled_from(SPECIAL), min_size=1, max_size=3).map("".join).map(lambda marks: f"{marks}a knife"),
    st.tuples(
        st.sampled_from(LONG),
        st.sampled_from((tiny.CONTEXT - 3, tiny.CONTEXT - 2, tiny.CONTEXT - 1, tiny.CONTEXT, 200)),
    ).map(lambda said: said[0] * said[1]),
)
ENDLESS = st.sampled_from(LONG).map(lambda said: said * 10_000)
BROKEN = st.text(st.characters(exclude_categories=()), max_size=20)  # halves of surrogate pairs, too
ODD = st.one_of(BROKEN, st.none(), st.integers(), st.binary(max_size=3), st.lists(st.text(max_size=3), max_size=2))
ANYTHING = st.one_of(st.text(), BROKEN, ODD, st.lists(st.text(), max_size=3), st.lists(ODD, max_size=3))
ran = settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))


@cache
def pipeline() -> Any:
    return tiny.pipeline()


def draw(prompt: Any, **options: Any) -> torch.Tensor:
    """Latents after one step."""
    count = len(prompt) if isinstance(prompt, list) else 1
    generators = [torch.Generator().manual_seed(0) for _ in range(count)]
    options = {"num_inference_steps": 1, "output_type": "latent", "generator": generators, **options}
    return pipeline()(prompt, **options).images


@cache
def stock(texts: tuple[str, ...]) -> torch.Tensor:
    return draw(list(texts))


@pytest.mark.parametrize("guard", GUARDS)
@seed(SEED)
@settings(ran, max_examples=-(-SHARE // BATCH))
@given(texts=st.lists(TEXTS, min_size=BATCH, max_size=BATCH))
@example(texts=["knife " * 1_000, "a photo of a knife" + "<|endoftext|>" * 1_000])
def test_a_prompt_is_guarded_or_the_guard_says_that_it_is_not(guard: str, texts: list[str]) -> None:
    unguarded = stock(tuple(texts))
    with GUARDS[guard]().attach(pipeline()) as attachment:
        pictures = draw(texts)
        acted = attachment.last.acted
    assert torch.isfinite(pictures).all() and len(acted) == len(texts)
    for text, picture, plain, did in zip(texts, pictures, unguarded, acted, strict=True):
        assert did or near(picture, plain), f"changed, and reported as untouched: {text!r}"
        assert not (did and same_bits(picture, plain)), f"untouched, and reported as changed: {text!r}"
        assert did or guard not in ("half", "mute"), f"not guarded: {text!r}"


@seed(SEED)
@settings(ran, max_examples=SHARE)
@given(text=st.integers(0, 9).flatmap(lambda die: TEXTS if die else ENDLESS))
def test_a_guard_sees_every_token_of_a_prompt(text: str) -> None:
    tokenizer, guard = pipeline().tokenizer, Half()
    with guard.attach(pipeline()):
        draw(text)
    said = tokenizer(text, add_special_tokens=False, verbose=False).input_ids[: tiny.CONTEXT - 2]
    prompt = next(view for view in guard.seen if view.role == "prompt")
    assert prompt.token_ids[prompt.content].tolist() == said and prompt.texts == (text,)


@seed(SEED)
@settings(ran, max_examples=-(-SHARE // BATCH))
@given(around=st.lists(st.tuples(TEXTS, TEXTS), min_size=BATCH, max_size=BATCH))
def test_safree_acts_wherever_the_phrase_stands(around: list[tuple[str, str]]) -> None:
    """Within the context, and as a word of its own: whatever stands before and behind it."""
    room, tokenizer = tiny.CONTEXT - 4, pipeline().tokenizer
    texts = [
        f"{before} a knife {after}"
        for before, after in around
        if len(tokenizer(before, add_special_tokens=False, verbose=False).input_ids) <= room
    ]
    assume(texts)
    with tiny.guard("safree").attach(pipeline()) as attachment:
        draw(texts)
    assert all(attachment.last.acted), [text for text, did in zip(texts, attachment.last.acted, strict=True) if not did]


@seed(SEED)
@settings(ran, max_examples=SHARE)
@given(text=st.one_of(st.text(), BROKEN))
def test_what_a_command_is_given_is_drawn_or_refused_alike(text: str) -> None:
    """The command line and the benchmark ask `check_text` first; it lets through just what a guarded call takes."""
    try:
        check_text(text)
    except StanchionError:
        with Half().attach(pipeline()), pytest.raises((StanchionError, ValueError, TypeError)):
            draw(text)
    else:
        with Half().attach(pipeline()) as attachment:
            draw(text)
        assert all(attachment.last.acted)


def is_argument_error(error: Exception, unguarded: Exception | None) -> bool:
    return type(error) in (ValueError, TypeError) and str(error) == str(unguarded)


@seed(SEED)
@settings(ran, max_examples=SHARE)
@given(prompt=ANYTHING, negative=ANYTHING)
def test_whatever_else_is_passed_is_drawn_guarded_or_refused(prompt: Any, negative: Any) -> None:
    def drawn() -> Exception | None:
        try:
            draw(prompt, negative_prompt=negative)
        except Exception as error:
            return error
        return None

    with Half().attach(pipeline()) as attachment:
        refused = drawn()
        assert refused or all(attachment.last.acted)
    unguarded = drawn()  # the pipeline's own words about its arguments are as good as ours
    assert refused is None or isinstance(refused, StanchionError) or is_argument_error(refused, unguarded)
    assert unguarded is None or refused, f"guarded where the stock pipeline raises: {unguarded}"
