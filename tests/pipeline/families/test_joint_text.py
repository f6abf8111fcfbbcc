"""Joint attention: which rows an attention guard sees and changes, and ForceForget's adapter on them."""

from __future__ import annotations

import pytest
import torch

import tiny_families
from closeness import near, same_bits
from small_guards import Mute
from stanchion import ForceForget, UnsupportedPipeline
from stanchion.pipeline.attach.guard_record import Record
from stanchion.pipeline.families import family_of
from stanchion.pipeline.families.base import Pass
from stanchion.pipeline.model.base_weights import base_of
from stanchion.pipeline.seams.attention import AttentionSeam
from stanchion.training.recipes.forceforget._safe_adapter import SafeAdapter
from tiny_families.guards import KNIVES

L, S = 12, 16  # rows of text and of picture
TEXT = {  # of joint blocks, and of blocks for both; registers come first in AuraFlow
    "FluxPipeline": (slice(0, L), slice(0, L)),
    "ChromaPipeline": (slice(0, L), slice(0, L)),
    "StableDiffusion3Pipeline": (slice(0, L), None),
    "AuraFlowPipeline": (slice(8, 8 + L), slice(8, 8 + L)),
}


def inputs_of(kind):
    given = {"encoder_hidden_states": torch.randn(1, L, 32), "timestep": torch.tensor([0.5])}
    if kind in ("FluxPipeline", "ChromaPipeline"):
        given |= {"hidden_states": torch.randn(1, S, 16), "txt_ids": torch.zeros(L, 3), "img_ids": torch.zeros(S, 3)}
        flux = {"pooled_projections": torch.randn(1, 32), "guidance": torch.ones(1)}
        return {**given, **(flux if kind == "FluxPipeline" else {})}
    given["hidden_states"] = torch.randn(1, 16 if "3" in kind else 4, 8, 8)
    return {**given, "pooled_projections": torch.randn(1, 64)} if "3" in kind else given


@pytest.mark.parametrize("kind", TEXT)
def test_a_guard_changes_the_rows_of_text_alone(kind):
    pipe = tiny_families.pipeline(kind)
    family, denoiser = family_of(pipe), pipe.transformer
    seam = AttentionSeam(family, [denoiser], [Record(Mute(factor=0.0), None)])
    one, muted = Pass({**inputs_of(kind), "return_dict": False}), {}
    with seam.hooked(), seam.watched(denoiser, one), torch.no_grad():
        places = family.text_projections(denoiser, Mute().projections)
        handles = [
            place.module.register_forward_hook(
                lambda module, args, out, place=place: muted.update({place.layer: (out == 0).all(-1)[0]})
            )
            for place in places
        ]
        family.run(denoiser, one)
    for handle in handles:
        handle.remove()
    assert muted.keys() == {place.layer for place in places}
    for layer, found in muted.items():
        rows = TEXT[kind][layer.startswith("single")]
        expected = torch.zeros_like(found)
        expected[rows] = True
        assert found.equal(expected), layer


JOINT = ("FluxPipeline", "StableDiffusion3Pipeline", "AuraFlowPipeline", "Flux2KleinPipeline")


def forceforget(pipe, change=0.0, **options):
    """A guard of this pipeline, which changes nothing yet, or what its adapter's rows say."""
    places = family_of(pipe).text_projections(pipe.transformer, ("q", "k", "v"))
    tensors = {name: value.detach() for name, value in SafeAdapter(places, **options).tensors().items()}
    tensors |= {name: value + change for name, value in tensors.items() if name.endswith("adapter")}
    return ForceForget(
        KNIVES, tensors=tensors, base={"unet": base_of(dict(pipe.transformer.named_parameters()))}, rows=32
    )


@pytest.mark.parametrize("kind", JOINT)
def test_an_adapter_begins_as_the_layer_is_with_its_bias(kind):
    pipe = tiny_families.pipeline(kind)
    before = tiny_families.draw(pipe)
    with forceforget(pipe).attach(pipe):
        assert near(tiny_families.draw(pipe), before)
    with forceforget(pipe, 1.0).attach(pipe) as attachment:
        assert not near(tiny_families.draw(pipe), before)
        assert all(attachment.last.acted)
    assert same_bits(tiny_families.draw(pipe), before)


def test_text_that_is_shorter_than_in_training_is_refused():
    pipe = tiny_families.pipeline("FluxPipeline")
    with forceforget(pipe).attach(pipe), pytest.raises(UnsupportedPipeline, match="max_sequence_length"):
        tiny_families.draw(pipe, max_sequence_length=16)
