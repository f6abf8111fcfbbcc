"""The weights seam: the right base, no overlap, the originals back bit for bit."""

from __future__ import annotations

import accelerate
import diffusers
import pytest
import torch
from peft import LoraConfig

import tiny
from closeness import near, same_bits
from small_guards import Mute, Zero
from stanchion import ArtefactError, ConfigError, GuardBypassed, GuardFailed, GuardStack
from stanchion.pipeline.model import replaced
from stanchion.pipeline.model.base_weights import base_of
from stanchion.pipeline.release import merge
from stanchion.pipeline.seams import weights as weights_seam

KEY, OTHER, DECODER = "unet.conv_in.weight", "unet.conv_in.bias", "vae.decoder.conv_out.bias"


def test_weights_are_put_in_and_back(pipe):
    original = pipe.unet.conv_in.weight.detach().clone()
    plain = tiny.draw(pipe)
    with Zero(pipe, KEY, DECODER).attach(pipe) as attachment:
        assert not pipe.unet.conv_in.weight.any() and not pipe.vae.decoder.conv_out.bias.any()
        assert not near(tiny.draw(pipe), plain)
        assert attachment.last.guards[0].acted == (True,)
    assert same_bits(pipe.unet.conv_in.weight, original)
    assert same_bits(tiny.draw(pipe), plain)


def test_another_base_is_refused(pipe):
    guard = Zero(pipe, KEY)
    other = tiny.pipeline(seed=1)
    with pytest.raises(ArtefactError, match="other weights"):
        guard.attach(other)
    assert other.unet.conv_in.weight.any() and type(other).__mro__[1] is not type(pipe)


def test_half_precision_of_the_same_base_is_accepted(pipe):
    guard = Zero(pipe, KEY)
    half = tiny.pipeline(dtype=torch.float16)
    with guard.attach(half):
        assert not half.unet.conv_in.weight.any()


def test_another_shape_and_a_missing_weight_are_refused(pipe):
    guard = Zero(pipe, KEY)
    guard.tensors[KEY] = torch.zeros(3)
    with pytest.raises(ArtefactError, match="another model"):
        guard.attach(pipe)
    guard.tensors = {"unet.nowhere.weight": torch.zeros(3)}
    with pytest.raises(ArtefactError, match="nowhere"):
        guard.attach(pipe)


def test_overlapping_guards_are_refused_and_leave_nothing(pipe):
    original = pipe.unet.conv_in.weight.detach().clone()
    with pytest.raises(ConfigError, match="both replace"):
        GuardStack(Zero(pipe, KEY, OTHER), Zero(pipe, KEY)).attach(pipe)
    assert same_bits(pipe.unet.conv_in.weight, original)
    with GuardStack(Zero(pipe, KEY), Zero(pipe, OTHER)).attach(pipe):
        assert not pipe.unet.conv_in.bias.any()


def test_weights_changed_later_are_noticed(pipe):
    with Zero(pipe, KEY).attach(pipe):
        with torch.no_grad():
            pipe.unet.conv_in.weight.add_(1.0)
        with pytest.raises(GuardBypassed, match="changed"):
            tiny.draw(pipe)


def test_a_cast_pipeline_is_still_guarded(pipe):
    with Zero(pipe, KEY).attach(pipe):
        pipe.to(torch.float16)
        assert tiny.draw(pipe, output_type="latent").dtype is torch.float16


# --- all or nothing, and exactly ---------------------------------------------------------------------


def _state(pipe):
    return {key: value.clone() for key, value in pipe.unet.state_dict().items()}


def _same(pipe, state):
    return all(same_bits(value, state[key]) for key, value in pipe.unet.state_dict().items())


def test_attaching_that_raises_half_way_leaves_nothing(pipe, monkeypatch):
    before, put = _state(pipe), replaced.replace
    calls = []

    def second_fails(*args):
        calls.append(args)
        if len(calls) == 2:
            raise MemoryError("on purpose")
        put(*args)

    monkeypatch.setattr(weights_seam, "replace", second_fails)
    with pytest.raises(MemoryError):
        Zero(pipe, KEY, OTHER).attach(pipe)
    assert _same(pipe, before) and not hasattr(type(pipe), "_stanchion")
    monkeypatch.undo()
    with Zero(pipe, KEY, OTHER).attach(pipe):
        assert not pipe.unet.conv_in.weight.any()
    assert _same(pipe, before)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e6])
def test_what_is_not_finite_in_the_pipelines_type_is_refused(value):
    pipe = tiny.pipeline(dtype=torch.float16)
    guard = Zero(pipe, KEY)
    guard.tensors[KEY] = torch.full(pipe.unet.conv_in.weight.shape, value)
    before = _state(pipe)
    with pytest.raises(ArtefactError, match=r"NaN or infinity|no finite number"):
        guard.attach(pipe)
    assert _same(pipe, before)


def test_a_fused_adapter_is_taken_out_before_the_weights_are(pipe):
    before = _state(pipe)
    attachment = Zero(pipe, KEY).attach(pipe)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["conv_in"], init_lora_weights=False))
    pipe.fuse_lora(components=["unet"])
    with pytest.raises(GuardBypassed, match="unfuse_lora"):
        attachment.detach()
    assert attachment.attached
    pipe.unfuse_lora(components=["unet"])
    attachment.detach()
    attachment.detach()
    pipe.unet.delete_adapters("default")
    assert same_bits(pipe.unet.conv_in.base_layer.weight, before["conv_in.weight"])


def test_a_sibling_takes_the_same_weights_and_the_last_gives_them_back(pipe):
    before, guard = _state(pipe), Zero(pipe, KEY)
    first = guard.attach(pipe)
    sibling = diffusers.StableDiffusionPipeline.from_pipe(pipe, torch_dtype=pipe.dtype)
    sibling.set_progress_bar_config(disable=True)
    with pytest.raises(GuardBypassed):
        tiny.draw(sibling)
    second = guard.attach(sibling)
    _, report = second.call("a cat", num_inference_steps=2)
    assert report.acted == (True,)
    first.detach()
    assert not pipe.unet.conv_in.weight.any()
    tiny.draw(sibling)
    second.detach()
    assert _same(pipe, before)


def test_a_sibling_takes_a_guard_that_was_trained_on_the_weights_before(pipe):
    base = {"unet": base_of(dict(pipe.unet.named_parameters()))}
    with Zero(pipe, KEY).attach(pipe):
        sibling = diffusers.StableDiffusionPipeline.from_pipe(pipe, torch_dtype=pipe.dtype)
        guard = Mute()
        guard.base = base
        guard.attach(sibling).detach()


def test_a_sibling_does_not_take_other_weights(pipe):
    other = Zero(pipe, KEY)
    other.tensors[KEY] = torch.ones_like(other.tensors[KEY])
    with Zero(pipe, KEY).attach(pipe):
        sibling = diffusers.StableDiffusionPipeline.from_pipe(pipe, torch_dtype=pipe.dtype)
        with pytest.raises(ConfigError, match="by other weights"):
            other.attach(sibling)
        assert not pipe.unet.conv_in.weight.any()


def _written(parameter, way):
    if way == "in place":
        with torch.no_grad():
            parameter.add_(1.0)
    else:
        parameter.data[0, 0, 0, 0] = 1.0


@pytest.mark.parametrize("way", ["in place", "through .data"])
def test_weights_written_at_any_time_are_noticed(way, pipe):
    def put_and_take(pipeline, index, timestep, values):
        parameter = pipeline.unet.conv_in.weight
        if index == 1:
            _written(parameter, way)
        if index == 2:
            parameter.data.zero_()
        return {}

    with Zero(pipe, KEY).attach(pipe) as attachment:
        with pytest.raises(GuardBypassed, match="changed"):
            tiny.draw(pipe, callback_on_step_end=put_and_take, steps=4)
        pipe.unet.conv_in.weight.data.zero_()
        tiny.draw(pipe, steps=4)
        _written(pipe.unet.conv_in.weight, way)
        with pytest.raises(GuardBypassed, match="changed"):
            attachment.assert_active()
        with pytest.raises(GuardBypassed, match="changed"):
            tiny.draw(pipe, steps=4)


def test_a_merged_guard_stays_and_shares_nothing(pipe):
    guard = Zero(pipe, KEY)
    with guard.attach(pipe), pytest.raises(ConfigError, match="detach"):
        merge(pipe, [guard])
    assert pipe.unet.conv_in.weight.any()
    merge(pipe, [guard])
    assert not pipe.unet.conv_in.weight.any()


def test_what_the_weights_make_must_be_finite():
    """The weights themselves are, and their products are not."""
    pipe = tiny.pipeline(dtype=torch.float16)
    guard = Zero(pipe, KEY)
    guard.tensors[KEY] = torch.full(pipe.unet.conv_in.weight.shape, 6e4)
    with guard.attach(pipe), pytest.raises(GuardFailed, match="'zero': what is decoded holds NaN or infinity"):
        tiny.draw(pipe)


def test_a_tensor_that_is_not_finite_is_refused_whatever_the_guard(pipe):
    guard = tiny.guard("steerdiff")
    name = next(name for name in guard.tensors if "map" not in name)
    guard.tensors[name] = guard.tensors[name].clone().fill_(float("inf"))
    with pytest.raises(ArtefactError, match="no finite number"):
        guard.attach(pipe)


def test_weights_that_are_elsewhere_come_back_first(pipe):
    before = _state(pipe)
    attachment = Zero(pipe, KEY).attach(pipe)
    accelerate.cpu_offload(pipe.unet, "cpu", offload_buffers=True)
    with pytest.raises(GuardBypassed, match="remove_all_hooks"):
        attachment.detach()
    pipe.remove_all_hooks()
    accelerate.hooks.remove_hook_from_module(pipe.unet, recurse=True)
    attachment.detach()
    assert _same(pipe, before)


def test_what_has_taken_a_weights_place_gets_the_original_too(pipe):
    before = _state(pipe)
    with Zero(pipe, KEY).attach(pipe):
        pipe.unet.load_state_dict({key: value.clone() for key, value in pipe.unet.state_dict().items()}, assign=True)
    assert _same(pipe, before)
