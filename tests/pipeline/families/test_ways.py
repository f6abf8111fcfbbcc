"""What people do to pipelines, on SDXL and FLUX.1: other schedulers, halves, siblings, adapters, offload."""

from __future__ import annotations

import accelerate
import diffusers
import pytest
import torch
from peft import LoraConfig

import tiny_families
from closeness import near, same_bits
from small_guards import Half, Identity, Mute
from stanchion import GuardBypassed, TraSCE, UnsupportedPipeline
from stanchion.pipeline.families import family_of
from stanchion.pipeline.model.guarded_prediction import GuardedPrediction
from stanchion.pipeline.model.workbench import Workbench
from tiny_families.guards import KNIVES

TWO = ("StableDiffusionXLPipeline", "FluxPipeline")
both = pytest.mark.parametrize("kind", TWO)
ROUNDING = 4e-5


def denoiser_of(pipe):
    return getattr(pipe, family_of(pipe).denoisers[0])


def same_with_identity(pipe, **options):
    """A trajectory guard that changes nothing, and an attention guard that changes nothing, draw what nobody guards."""
    plain = tiny_families.draw(pipe, **options)
    for guard in (Identity(), Mute(factor=1.0)):
        with guard.attach(pipe) as attachment:
            torch.testing.assert_close(tiny_families.draw(pipe, **options), plain, rtol=0, atol=ROUNDING)
        assert same_bits(tiny_families.draw(pipe, **options), plain)
    return attachment.last


SCHEDULERS = [
    ("StableDiffusionXLPipeline", "HeunDiscreteScheduler", {}),
    ("StableDiffusionXLPipeline", "DPMSolverMultistepScheduler", {}),
    ("FluxPipeline", "UniPCMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
    ("StableDiffusion3Pipeline", "FlowMatchHeunDiscreteScheduler", {}),
]


@pytest.mark.parametrize(("kind", "name", "options"), SCHEDULERS, ids=lambda value: str(value)[:12])
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_another_scheduler(kind, name, options):
    pipe = tiny_families.fresh(kind)
    config = {key: value for key, value in pipe.scheduler.config.items() if not key.startswith("use_")}
    pipe.scheduler = getattr(diffusers, name).from_config(config, **options)
    report = same_with_identity(pipe, steps=3)
    assert report.steps == (5 if "Heun" in name else 3) and report.total == 3


FLOWS = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
SECOND = [  # of each other family; CogView4 and Z-Image draw with their own alone
    ("AuraFlowPipeline", "FlowMatchHeunDiscreteScheduler", {}),
    ("ChromaPipeline", "UniPCMultistepScheduler", FLOWS),
    ("Flux2KleinPipeline", "UniPCMultistepScheduler", FLOWS),
    ("Lumina2Pipeline", "UniPCMultistepScheduler", FLOWS),
    ("PixArtSigmaPipeline", "HeunDiscreteScheduler", {}),
    ("QwenImagePipeline", "UniPCMultistepScheduler", FLOWS),
    ("SanaPipeline", "FlowMatchHeunDiscreteScheduler", {}),
    ("WanPipeline", "FlowMatchEulerDiscreteScheduler", {}),
]


@pytest.mark.parametrize(("kind", "name", "options"), SECOND, ids=lambda value: str(value)[:12])
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_a_second_scheduler_of_every_family(kind, name, options, monkeypatch):
    pipe = tiny_families.pipeline(kind)
    config = {key: value for key, value in pipe.scheduler.config.items() if not key.startswith("use_")}
    monkeypatch.setattr(pipe, "scheduler", getattr(diffusers, name).from_config(config, **options))
    plain = tiny_families.draw(pipe, ["a cat"])
    with Identity().attach(pipe) as attachment:
        torch.testing.assert_close(tiny_families.draw(pipe, ["a cat"]), plain, rtol=0, atol=ROUNDING)
    assert attachment.last.steps == (3 if "Heun" in name else 2) and attachment.last.total == 2


def test_sd3_without_its_largest_text_encoder():
    """Its rows are zeros then, and hold no word."""
    pipe = tiny_families.fresh("StableDiffusion3Pipeline")
    pipe.text_encoder_3 = pipe.tokenizer_3 = None
    pipe.register_modules(text_encoder_3=None, tokenizer_3=None)
    plain = tiny_families.draw(pipe)
    same_with_identity(pipe)
    guard = Half()
    with guard.attach(pipe):
        assert not near(tiny_families.draw(pipe), plain)
    prompt = guard.seen[0]
    assert prompt.content[:, :77].any() and not prompt.content[:, 77:].any()
    with TraSCE(KNIVES).attach(pipe):
        assert not near(tiny_families.draw(pipe), plain)


@pytest.mark.parametrize("kind", [*TWO, "QwenImagePipeline"])
def test_training_and_white_box_attacks_refuse_what_they_do_not_know(kind):
    pipe = tiny_families.pipeline(kind)
    with pytest.raises(UnsupportedPipeline, match="can be guarded, but not trained or attacked"):
        Workbench(pipe)
    with pytest.raises(UnsupportedPipeline, match="can be guarded, but not trained or attacked"):
        GuardedPrediction(pipe, (), steps=2, guidance_scale=4.0)


@both
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(kind, dtype):
    pipe = tiny_families.fresh(kind).to(dtype)
    plain = tiny_families.draw(pipe)
    with Identity().attach(pipe):
        assert (tiny_families.draw(pipe) - plain).abs().max() < 0.1
    with TraSCE(KNIVES, form="faithful").attach(pipe) as attachment:
        drawn = tiny_families.draw(pipe)
        assert all(attachment.last.acted)
    assert drawn.isfinite().all() and not near(drawn, plain)
    assert same_bits(tiny_families.draw(pipe), plain)


@pytest.mark.parametrize(
    ("kind", "sibling"), [(TWO[0], "StableDiffusionXLImg2ImgPipeline"), (TWO[1], "FluxImg2ImgPipeline")]
)
def test_a_sibling_on_the_same_modules(kind, sibling):
    pipe = tiny_families.fresh(kind)
    other = getattr(diffusers, sibling).from_pipe(pipe, torch_dtype=pipe.dtype)
    other.set_progress_bar_config(disable=True)
    with Half().attach(pipe):
        with pytest.raises(GuardBypassed, match="outside a guarded call"):
            tiny_families.draw(other)
        with Identity().attach(other) as attachment:
            tiny_families.draw(other)
        assert attachment.last.steps == 2
        tiny_families.draw(pipe)


@both
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_adapter_loaded_before_and_after(kind, when):
    pipe = tiny_families.fresh(kind)
    plain = tiny_families.draw(pipe)
    layers = ["attn2.to_k", "attn2.to_v"] if kind == TWO[0] else ["add_k_proj", "to_v"]
    config = LoraConfig(r=2, target_modules=layers, init_lora_weights=False)
    if when == "before":
        torch.manual_seed(0)
        denoiser_of(pipe).add_adapter(config)
        adapted = tiny_families.draw(pipe)
        assert not near(adapted, plain)
        same_with_identity(pipe)
        return
    with Mute(factor=1.0).attach(pipe):
        tiny_families.draw(pipe)
        torch.manual_seed(0)
        denoiser_of(pipe).add_adapter(config)
        guarded = tiny_families.draw(pipe)
    assert not near(guarded, plain)
    torch.testing.assert_close(guarded, tiny_families.draw(pipe), rtol=0, atol=ROUNDING)


@both
def test_offload_weight_by_weight(kind):
    pipe = tiny_families.fresh(kind)
    plain = tiny_families.draw(pipe)
    with Identity().attach(pipe):
        accelerate.cpu_offload(denoiser_of(pipe), torch.device("cpu"), offload_buffers=True)
        torch.testing.assert_close(tiny_families.draw(pipe), plain, rtol=0, atol=ROUNDING)
