"""Kept encodings: right as long as they last, and gone as soon as the text encoder gives something else."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig

import tiny
import tiny_families
from closeness import same_bits
from stanchion import TraSCE
from stanchion.errors import GuardBypassed
from stanchion.pipeline.families import family_of
from stanchion.pipeline.model.encoding import Encoding
from stanchion.pipeline.phrase_cache import PhraseCache


def passes(pipe):
    """How many texts the text encoder reads, call by call."""
    rows = []
    pipe.text_encoder.register_forward_pre_hook(
        lambda module, args, given: rows.append(len(args[0] if args else given["input_ids"])), with_kwargs=True
    )
    return rows


def test_phrases_are_encoded_once(pipe):
    guard = TraSCE(tiny.weapons(), when="flagged")
    rows = passes(pipe)
    with guard.attach(pipe):
        pictures = []
        for _ in range(2):
            rows.clear()
            pictures.append(tiny.draw(pipe, "a knife"))
            read = sum(rows)
        assert read == 2  # the prompt and its negative prompt
    assert same_bits(*pictures)


def test_what_a_pass_leaves_on_the_text_encoder_is_no_setting_of_it():
    """Qwen's keeps ``rope_deltas``."""
    pipe = tiny_families.fresh("QwenImagePipeline")
    rows = passes(pipe)
    with TraSCE(tiny.weapons(), when="always").attach(pipe):
        for _ in range(2):
            rows.clear()
            tiny_families.draw(pipe, ["a knife"], steps=1)
    assert sum(rows) == 2  # the prompt and its negative prompt


def _in_place(pipe):
    with torch.no_grad():
        pipe.text_encoder.get_input_embeddings().weight[pipe.tokenizer("knife").input_ids[1]] += 1.0


def _behind_autograd(pipe):
    for parameter in pipe.text_encoder.parameters():
        parameter.data.mul_(1.01)


def _adapter(pipe):
    pipe.text_encoder.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))


def _scale(pipe):
    """Of an adapter from before: no tensor of it changes."""
    pipe.text_encoder.disable_adapters()


def _token(pipe):
    pipe.tokenizer.add_tokens("something-new")
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer))


@pytest.mark.parametrize("change", [_in_place, _adapter, _scale, _token])
def test_a_changed_encoder_empties_the_book(change, pipe):
    pipe.tokenizer = tiny.tokenizer.__wrapped__()  # one of its own, which _token may change
    if change is _scale:
        _adapter(pipe)
    book = PhraseCache()
    Encoding(pipe, family_of(pipe), {}, book).encode(["a knife"])
    change(pipe)
    rows = passes(pipe)
    after = Encoding(pipe, family_of(pipe), {}, book).encode(["a knife"]).embeds
    assert sum(rows) == 1
    assert same_bits(Encoding(pipe, family_of(pipe), {}, PhraseCache()).encode(["a knife"]).embeds, after)


def test_an_adapter_may_be_switched_off_between_calls(pipe):
    """What a guard without training knows of its concept is encoded anew, as if it had come only then."""
    _adapter(pipe)
    with TraSCE(tiny.weapons(), when="flagged").attach(pipe):
        tiny.draw(pipe, "a knife")
        _scale(pipe)
        picture = tiny.draw(pipe, "a knife")
    with TraSCE(tiny.weapons(), when="flagged").attach(pipe) as anew:
        assert same_bits(tiny.draw(pipe, "a knife"), picture)
        assert anew.last.guards[0].acted == (True,)


def test_a_call_that_fails_keeps_nothing(pipe):
    """What writes past every counter is seen when the call ends; what was known until then must not come back."""
    rows = passes(pipe)
    kept = [parameter.detach().clone() for parameter in pipe.text_encoder.parameters()]
    with TraSCE(tiny.weapons(), when="flagged").attach(pipe):
        tiny.draw(pipe, "a knife")
        _behind_autograd(pipe)
        with pytest.raises(GuardBypassed, match="text_encoder was changed"):
            tiny.draw(pipe, "a knife")
        for parameter, was in zip(pipe.text_encoder.parameters(), kept, strict=True):
            parameter.data.copy_(was)
        rows.clear()
        tiny.draw(pipe, "a knife")
        assert sum(rows) > 2  # the phrases, too


def test_options_of_the_encoding_are_told_apart(pipe):
    vars(pipe.text_encoder).setdefault("text_model", pipe.text_encoder)  # where diffusers looks for its last norm
    with TraSCE(tiny.weapons()).attach(pipe):
        tiny.draw(pipe, "a knife")
        skipped = tiny.draw(pipe, "a knife", clip_skip=1)
    with TraSCE(tiny.weapons()).attach(pipe):
        assert same_bits(tiny.draw(pipe, "a knife", clip_skip=1), skipped)
