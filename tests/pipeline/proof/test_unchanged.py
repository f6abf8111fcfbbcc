"""A guard belongs to the weights and tokens that it was attached to: what they hold counts, not who holds them."""

from __future__ import annotations

import copy

import accelerate
import pytest
import torch
from peft import LoraConfig
from tokenizers import normalizers

import tiny
from closeness import same_bits
from small_guards import Grey, Half
from stanchion import ArtefactError, GuardBypassed, TraSCE

KNIFE = "a photo of a knife"


def table(pipe):
    return pipe.text_encoder.get_input_embeddings().weight


def another_encoder(pipe):
    pipe.text_encoder.load_state_dict(tiny.parts(seed=1)["text_encoder"].state_dict())


def swapped_rows(pipe):
    first, second = (pipe.tokenizer(word, add_special_tokens=False).input_ids[0] for word in ("knife", "cat"))
    table(pipe).data[[first, second]] = table(pipe).data[[second, first]]


def one_number(pipe):
    table(pipe).data[7, 3] += 1e-3


def an_adapter(pipe):
    pipe.text_encoder.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))


def another_tokenizer(pipe):
    pipe.tokenizer = copy.deepcopy(pipe.tokenizer)
    pipe.tokenizer.add_tokens(["zzz"])


def another_model_of_words(pipe):
    pipe.tokenizer = copy.deepcopy(pipe.tokenizer)
    pipe.tokenizer.backend_tokenizer.normalizer = normalizers.Replace("cat", "knife")


def a_shorter_context(pipe):
    pipe.tokenizer = copy.deepcopy(pipe.tokenizer)
    pipe.tokenizer.model_max_length = tiny.CONTEXT - 1


def no_tokenizer(pipe):
    pipe.tokenizer = None


def an_inverted_word(pipe):
    pipe.tokenizer = copy.deepcopy(pipe.tokenizer)
    pipe.load_textual_inversion({"<thing>": torch.ones(32)}, token="<thing>")


CHANGES = [
    another_encoder,
    swapped_rows,
    one_number,
    an_adapter,
    another_tokenizer,
    another_model_of_words,
    a_shorter_context,
    an_inverted_word,
]


@pytest.mark.parametrize("guard", [Half, lambda: TraSCE(tiny.weapons(), when="always")])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_text_encoder_or_tokenizer_raises(change, guard, pipe):
    attachment = guard().attach(pipe)
    change(pipe)
    with pytest.raises(GuardBypassed, match="was changed since the guard was attached"):
        tiny.draw(pipe, KNIFE)
    attachment.detach()
    with guard().attach(pipe) as again:
        tiny.draw(pipe, KNIFE)
        assert again.last.acted == (True,)


@pytest.mark.parametrize("change", [another_encoder, swapped_rows, another_tokenizer, no_tokenizer])
def test_what_is_put_back_draws_again(change, pipe):
    weights, tokenizer = copy.deepcopy(pipe.text_encoder.state_dict()), pipe.tokenizer
    with Half().attach(pipe):
        guarded = tiny.draw(pipe, KNIFE)
        change(pipe)
        with pytest.raises(GuardBypassed):
            tiny.draw(pipe, KNIFE)
        pipe.text_encoder.load_state_dict(weights)
        pipe.tokenizer = tokenizer
        assert same_bits(tiny.draw(pipe, KNIFE), guarded)


def test_a_change_in_the_middle_of_a_call_makes_no_picture(pipe):
    def write(pipeline, index, timestep, values):
        one_number(pipeline)
        return {}

    with Half().attach(pipe), pytest.raises(GuardBypassed, match=r"pipe\.text_encoder was changed"):
        tiny.draw(pipe, KNIFE, callback_on_step_end=write)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_another_floating_point_type_is_the_same_content(dtype, pipe):
    with Half().attach(pipe) as attachment:
        pipe.text_encoder.to(dtype)
        attachment.assert_active()
        pipe.text_encoder.to(torch.float32)
        with pytest.raises(GuardBypassed):  # the bits that were lost are
            attachment.assert_active()
    pipe.text_encoder.to(dtype)
    with Half().attach(pipe) as attachment:
        pipe.text_encoder.to(torch.float32)
        attachment.assert_active()
        one_number(pipe)
        with pytest.raises(GuardBypassed):
            attachment.assert_active()


def test_an_offloaded_text_encoder_is_looked_at_where_it_lies(pipe):
    with Half().attach(pipe) as attachment:
        guarded = tiny.draw(pipe, KNIFE)
        for module in (pipe.text_encoder, pipe.unet, pipe.vae):
            accelerate.cpu_offload(module, torch.device("cpu"))
        assert table(pipe).is_meta
        torch.testing.assert_close(tiny.draw(pipe, KNIFE), guarded)
        hook = pipe.text_encoder.get_input_embeddings()._hf_hook
        hook.weights_map["weight"][7, 3] += 1e-3
        with pytest.raises(GuardBypassed):
            attachment.assert_active()


class Trained(Half):
    """A guard that was trained on the denoiser."""

    name = "trained"

    def __init__(self, pipe):
        super().__init__()
        from stanchion.pipeline.model.base_weights import base_of

        self.base = {"unet": base_of(dict(pipe.unet.named_parameters()))}


def test_what_a_guard_was_trained_on_belongs_to_it(pipe):
    with Trained(pipe).attach(pipe):
        pipe.unet.conv_in.weight.data.mul_(1.01)
        with pytest.raises(GuardBypassed, match=r"pipe\.unet was changed"):
            tiny.draw(pipe, KNIFE)


def test_the_decoder_belongs_to_its_guard(pipe):
    with Grey().attach(pipe):
        pipe.vae.decoder.conv_in.weight.data.mul_(1.01)
        with pytest.raises(GuardBypassed, match=r"pipe\.vae was changed"):
            tiny.draw(pipe, KNIFE)


def test_what_no_guard_depends_on_may_change(pipe):
    with Half().attach(pipe) as attachment:
        pipe.unet.conv_in.weight.data.mul_(1.01)
        pipe.vae.decoder.conv_in.weight.data.mul_(1.01)
        tiny.draw(pipe, KNIFE)
        assert attachment.last.acted == (True,)


def test_steerdiff_refuses_an_inverted_word_in_either_order(pipe):
    """It was trained on the text encoder without that row."""
    attachment = tiny.guard("steerdiff").attach(pipe)
    an_inverted_word(pipe)
    with pytest.raises(GuardBypassed, match=r"pipe\.text_encoder was changed"):
        tiny.draw(pipe, "a <thing>")
    attachment.detach()
    with pytest.raises(ArtefactError, match="trained on another text_encoder"):
        tiny.guard("steerdiff").attach(pipe)


def test_a_usual_write_is_seen_before_anything_is_drawn(pipe):
    drawn = []
    pipe.unet.register_forward_pre_hook(lambda module, args: drawn.append(module))
    with Half().attach(pipe):
        another_encoder(pipe)
        with pytest.raises(GuardBypassed):
            tiny.draw(pipe, KNIFE)
    assert not drawn
