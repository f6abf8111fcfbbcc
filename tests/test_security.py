"""Ways around a guard, each tried. docs/security.md is the table of these: drawn guarded, or raised.

Every way is tried with a guard at each stage where it could matter. "Guarded" means more than "did not raise": the
picture is the one that the guard makes.
"""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import accelerate
import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from PIL import Image

import tiny
from closeness import near, same_bits
from small_guards import Grey, Half, Mute, Zero
from stanchion import GuardBypassed, GuardStack, TraSCE, UnsupportedPipeline

UNSAFE = "a photo of a knife"
STAGES = {
    "text": Half,
    "attention": Mute,
    "trajectory": lambda: TraSCE("weapons"),
    "decoder": Grey,
}
at_every_stage = pytest.mark.parametrize("stage", STAGES)


def attached(pipe, stage="trajectory"):
    return STAGES[stage]().attach(pipe)


def drawn_guarded(attachment, pipe, **options):
    """Draw; the guard must say that it acted."""
    picture = tiny.draw(pipe, options.pop("prompt", UNSAFE), **options)
    assert all(attachment.last.acted), "the picture was drawn unguarded"
    return picture


def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8))


# --- what the user may change meanwhile --------------------------------------------------------------


@at_every_stage
def test_a_new_scheduler_is_guarded(stage, pipe):
    with attached(pipe, stage) as attachment:
        pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
        picture = drawn_guarded(attachment, pipe)
    assert not near(tiny.draw(pipe, UNSAFE), picture)


@at_every_stage
def test_a_new_scheduler_in_the_middle_is_guarded(stage, pipe):
    def swap(pipeline, index, timestep, values):
        if index == 1:
            steps = pipeline.scheduler.timesteps
            pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config)
            pipeline.scheduler.set_timesteps(len(steps))
        return values

    with attached(pipe, stage) as attachment:
        drawn_guarded(attachment, pipe, callback_on_step_end=swap)


@at_every_stage
def test_offload_hooks_come_and_go(stage, pipe):
    """What enable_model_cpu_offload and remove_all_hooks do to the modules, on a machine without a GPU."""
    with attached(pipe, stage) as attachment:
        guarded = drawn_guarded(attachment, pipe)
        for module in (pipe.text_encoder, pipe.unet, pipe.vae):
            accelerate.cpu_offload_with_hook(module, "cpu")
        assert same_bits(drawn_guarded(attachment, pipe), guarded)
        pipe.remove_all_hooks()
        assert same_bits(drawn_guarded(attachment, pipe), guarded)


@at_every_stage
def test_offload_weight_by_weight(stage, pipe):
    """What enable_sequential_cpu_offload does: weights are on the meta device between uses."""
    with attached(pipe, stage) as attachment:
        guarded = drawn_guarded(attachment, pipe)
        accelerate.cpu_offload(pipe.unet, torch.device("cpu"), offload_buffers=True)
        torch.testing.assert_close(drawn_guarded(attachment, pipe), guarded)


def test_hooks_put_back_at_the_end_of_a_call_are_on_the_modules(pipe):
    """Pipelines under enable_model_cpu_offload renew their hooks as their last act, inside the guarded call."""
    renewed = []
    pipe._all_hooks = [None]
    pipe.enable_model_cpu_offload = lambda **_: renewed.append(pipe.unet)  # needs a GPU; this is when it is called
    with attached(pipe) as attachment:
        drawn_guarded(attachment, pipe)
    assert [type(module) for module in renewed] == [diffusers.UNet2DConditionModel]


@at_every_stage
def test_another_attention_processor_is_guarded(stage, pipe):
    with attached(pipe, stage) as attachment:
        guarded = drawn_guarded(attachment, pipe)
        pipe.unet.set_attn_processor(AttnProcessor())
        torch.testing.assert_close(drawn_guarded(attachment, pipe), guarded, rtol=1e-3, atol=1e-4)


@at_every_stage
def test_fused_projections_are_guarded_or_raise(stage, pipe):
    with attached(pipe, stage) as attachment:
        pipe.fuse_qkv_projections()
        if stage == "attention":
            with pytest.raises(GuardBypassed, match="fuse_qkv_projections"):
                tiny.draw(pipe, UNSAFE)
        else:
            drawn_guarded(attachment, pipe)


@pytest.mark.parametrize("module", ["unet", "vae", "text_encoder"])
def test_a_replaced_module_raises(module, pipe):
    with attached(pipe):
        original = getattr(pipe, module)
        setattr(pipe, module, getattr(tiny.pipeline(seed=1), module))
        with pytest.raises(GuardBypassed, match=f"pipe.{module} was replaced"):
            tiny.draw(pipe, UNSAFE)
        setattr(pipe, module, original)
        tiny.draw(pipe, UNSAFE)


@at_every_stage
def test_a_lora_loaded_afterwards_is_guarded(stage, pipe):
    with attached(pipe, stage) as attachment:
        pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["attn2.to_k", "attn2.to_v"], init_lora_weights=False))
        with_lora = drawn_guarded(attachment, pipe)
    if stage == "attention":  # the whole layer is muted, the adapter's part as well
        assert same_bits(with_lora, _silent(tiny.pipeline()))


def _silent(pipe):
    with Mute().attach(pipe):
        return tiny.draw(pipe, UNSAFE)


def test_a_lora_over_hardened_weights_raises(pipe):
    with Zero(pipe, "unet.conv_in.weight").attach(pipe):
        pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["conv_in"], init_lora_weights=False))
        with pytest.raises(GuardBypassed, match="adapter"):
            tiny.draw(pipe, UNSAFE)


def test_a_reassigned_encode_prompt_is_steered(pipe):
    with attached(pipe, "text") as attachment:
        guarded = drawn_guarded(attachment, pipe)
        stock = type(pipe).encode_prompt
        pipe.encode_prompt = lambda *args, **kwargs: stock(pipe, *args, **kwargs)
        with pytest.raises((GuardBypassed, TypeError, KeyError, ValueError)):  # its signature says nothing
            tiny.draw(pipe, UNSAFE)
        pipe.encode_prompt = stock.__get__(pipe)
        assert same_bits(drawn_guarded(attachment, pipe), guarded)
        del vars(pipe)["encode_prompt"]


@at_every_stage
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler's own
def test_a_compiled_denoiser_is_guarded(stage, pipe):
    with attached(pipe, stage) as attachment:
        guarded = drawn_guarded(attachment, pipe)
        pipe.unet.compile(backend="eager")
        torch.testing.assert_close(drawn_guarded(attachment, pipe), guarded, rtol=1e-3, atol=1e-4)
        with pytest.raises(GuardBypassed):
            pipe.unet(torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, tiny.CONTEXT, 32))
    torch._dynamo.reset()


def test_a_denoiser_compiled_into_a_new_object_raises(pipe):
    with attached(pipe):
        pipe.unet = torch.compile(pipe.unet, backend="eager")
        with pytest.raises(GuardBypassed, match="compiles in place"):
            tiny.draw(pipe, UNSAFE)


def test_a_denoiser_compiled_before_is_refused(pipe):
    pipe.unet.compile(backend="eager")
    with pytest.raises(UnsupportedPipeline, match="Attach first"):
        attached(pipe)
    pipe.unet = torch.compile(tiny.pipeline().unet, backend="eager")
    with pytest.raises(UnsupportedPipeline, match="Attach first"):
        attached(pipe)


# --- what the user may pass --------------------------------------------------------------------------


@at_every_stage
def test_embeddings_are_guarded(stage, pipe):
    prompt, negative = pipe.encode_prompt(UNSAFE, "cpu", 1, True)
    with attached(pipe, stage) as attachment:
        guarded = drawn_guarded(attachment, pipe)
        embeds = {"prompt_embeds": prompt, "negative_prompt_embeds": negative}
        assert same_bits(drawn_guarded(attachment, pipe, prompt=None, **embeds), guarded)


def test_embeddings_longer_than_the_context_are_guarded(pipe):
    prompt, negative = pipe.encode_prompt(UNSAFE, "cpu", 1, True)
    embeds = {"prompt_embeds": prompt.repeat(1, 2, 1), "negative_prompt_embeds": negative.repeat(1, 2, 1)}
    with attached(pipe) as attachment:
        drawn_guarded(attachment, pipe, prompt=None, **embeds)


@at_every_stage
@pytest.mark.parametrize("guidance_scale", [1.0, 0.0, -3.0])
def test_no_guidance_is_guarded(guidance_scale, stage, pipe):
    plain = tiny.draw(pipe, UNSAFE, guidance_scale=guidance_scale)
    with attached(pipe, stage) as attachment:
        assert not near(drawn_guarded(attachment, pipe, guidance_scale=guidance_scale), plain)


@at_every_stage
def test_latents_are_guarded_or_raise(stage, pipe):
    with attached(pipe, stage) as attachment:
        if stage == "decoder":
            with pytest.raises(UnsupportedPipeline, match="latent"):
                tiny.draw(pipe, UNSAFE, output_type="latent")
        else:
            drawn_guarded(attachment, pipe, output_type="latent")


@at_every_stage
def test_clip_skip_is_guarded(stage, pipe):
    vars(pipe.text_encoder).setdefault("text_model", pipe.text_encoder)  # where diffusers looks for its last norm
    with attached(pipe, stage) as attachment:
        drawn_guarded(attachment, pipe, clip_skip=1)


@at_every_stage
def test_a_callback_that_edits_latents_is_guarded(stage, pipe):
    def edit(pipeline, index, timestep, values):
        return {"latents": torch.zeros_like(values["latents"])}

    with attached(pipe, stage) as attachment:
        drawn_guarded(attachment, pipe, callback_on_step_end=edit)


def test_a_callback_that_runs_the_denoiser_raises(pipe):
    raw = pipe.unet

    def run(pipeline, index, timestep, values):
        raw(values["latents"], timestep, torch.zeros(1, tiny.CONTEXT, 32))

    with attached(pipe), pytest.raises(GuardBypassed, match="outside a guarded call"):
        tiny.draw(pipe, UNSAFE, callback_on_step_end=run)


def test_image_prompts_are_refused(pipe):
    with attached(pipe), pytest.raises(UnsupportedPipeline, match="ip_adapter_image"):
        tiny.draw(pipe, UNSAFE, ip_adapter_image=image())


# --- paths round the guarded object ------------------------------------------------------------------


@at_every_stage
def test_the_class_called_instead_of_the_object(stage, pipe):
    stock = type(pipe)
    with attached(pipe, stage) as attachment:
        type(pipe).__call__(pipe, UNSAFE, num_inference_steps=2)
        assert all(attachment.last.acted)
        with pytest.raises(GuardBypassed, match="outside a guarded call"):
            stock.__call__(pipe, UNSAFE, num_inference_steps=2)


def test_the_denoiser_called_directly_raises(pipe):
    inputs = (torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, tiny.CONTEXT, 32))
    with attached(pipe), pytest.raises(GuardBypassed):
        pipe.unet(*inputs)
    pipe.unet(*inputs)


def test_the_decoder_called_directly_raises(pipe):
    with attached(pipe, "decoder"), pytest.raises(GuardBypassed):
        pipe.vae.decode(torch.zeros(1, 4, 8, 8))


@at_every_stage
@pytest.mark.parametrize("name", ["StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"])
def test_a_sibling_raises_until_it_is_guarded_too(name, stage, pipe):
    with attached(pipe, stage):
        sibling = getattr(diffusers, name).from_pipe(pipe, torch_dtype=pipe.dtype)
        sibling.set_progress_bar_config(disable=True)
        options = {"image": image(), "strength": 0.9}
        if "Inpaint" in name:
            options |= {"mask_image": Image.new("L", (tiny.SIZE, tiny.SIZE), 255), "height": 16, "width": 16}
        with pytest.raises(GuardBypassed):
            tiny.draw(sibling, UNSAFE, **options)
        with attached(sibling, stage) as attachment:
            drawn_guarded(attachment, sibling, **options)


def test_a_pipeline_of_the_swapped_class_raises(pipe):
    with attached(pipe):
        twin = type(pipe)(**tiny.parts(seed=1))
        with pytest.raises(GuardBypassed, match="attach one to it"):
            tiny.draw(twin, UNSAFE)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_copy_raises(way, pipe):
    with attached(pipe), pytest.raises(GuardBypassed, match="detach, copy"):
        way(pipe)


def test_a_copied_denoiser_raises(pipe):
    with attached(pipe):
        twin = copy.deepcopy(pipe.unet)
        with pytest.raises(GuardBypassed):
            twin(torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, tiny.CONTEXT, 32))


def test_a_saved_pipeline_is_the_stock_one(pipe, tmp_path):
    """What is on disk has no guard and does not pretend to have one."""
    plain = tiny.draw(pipe, UNSAFE)
    with attached(pipe) as attachment:
        pipe.save_pretrained(tmp_path)
        drawn_guarded(attachment, pipe)
    loaded = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert type(loaded) is diffusers.StableDiffusionPipeline
    torch.testing.assert_close(tiny.draw(loaded, UNSAFE), plain)


def test_a_hook_taken_off_raises(pipe):
    with attached(pipe):
        pipe.unet._forward_pre_hooks.clear()
        with pytest.raises(GuardBypassed, match="hook"):
            tiny.draw(pipe, UNSAFE)


def test_the_class_put_back_by_hand_raises(pipe):
    stock = type(pipe)
    attachment = GuardStack(TraSCE("weapons"), Half()).attach(pipe)
    pipe.__class__ = stock
    with pytest.raises(GuardBypassed):
        tiny.draw(pipe, UNSAFE)
    attachment.detach()
    tiny.draw(pipe, UNSAFE)


def test_the_page_lists_every_way():
    page = (Path(__file__).parents[1] / "docs" / "security.md").read_text(encoding="utf-8")
    ways = [name for name in globals() if name.startswith("test_") and name != "test_the_page_lists_every_way"]
    assert [name for name in ways if f"`{name}`" not in page] == []
