"""A guard as a LoRA: stock diffusers loads it, and draws what the guarded pipeline draws."""

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

import tiny
import tiny_families
from closeness import near, same_bits
from stanchion import ArtefactError, ConfigError
from stanchion.guards.weights.uce import UCE
from stanchion.pipeline.model.base_weights import base_of
from stanchion.pipeline.release_lora import FILE, release_lora

PROMPTS = ["a photo of a knife", "a photo of a cat"]


@pytest.mark.parametrize("dialect", ["diffusers", "comfyui"])
def test_it_draws_what_the_attached_guard_draws(dialect, tmp_path):
    guard, pipe = tiny.guard("uce"), tiny.pipeline()
    plain = tiny.draw(pipe, PROMPTS)
    with guard.attach(pipe):
        guarded = tiny.draw(pipe, PROMPTS)
    folder = release_lora(pipe, [guard], tmp_path / "lora", model="somewhere", dialect=dialect)
    assert same_bits(tiny.draw(pipe, PROMPTS), plain)
    assert type(pipe) is StableDiffusionPipeline
    pipe.load_lora_weights(str(folder))
    drawn = tiny.draw(pipe, PROMPTS)
    assert near(drawn, guarded)
    assert not near(drawn, plain)
    pipe.unload_lora_weights()
    assert same_bits(tiny.draw(pipe, PROMPTS), plain)


@pytest.mark.parametrize("dialect", ["diffusers", "comfyui"])
def test_layers_that_change_in_several_ranks(dialect, tmp_path):
    pipe = tiny.pipeline()
    old = {f"unet.{path}": p.detach() for path, p in pipe.unet.named_parameters() if path.endswith("attn2.to_v.weight")}
    changed = {key: old[key] + (1 + place) * torch.eye(32)[:, :1] for place, key in enumerate(old)}
    changed[next(iter(old))] = old[next(iter(old))] + torch.eye(32)
    guard = UCE("banana", tensors=changed, base={"weights": base_of(old)})
    with guard.attach(pipe):
        guarded = tiny.draw(pipe, PROMPTS)
    pipe.load_lora_weights(str(release_lora(pipe, [guard], tmp_path / "lora", model="m", dialect=dialect)))
    assert near(tiny.draw(pipe, PROMPTS), guarded)


def test_its_layers_share_a_rank_and_are_those_that_changed(tmp_path):
    guard = tiny.guard("uce")
    tensors = load_file(release_lora(tiny.pipeline(), [guard], tmp_path / "lora", model="m") / FILE)
    assert {name.partition(".lora_")[0] for name in tensors} <= {key.removesuffix(".weight") for key in guard.weights()}
    assert len({tensor.shape[0] for name, tensor in tensors.items() if ".lora_A." in name}) == 1
    assert "load_lora_weights" in (tmp_path / "lora" / "README.md").read_text()


def test_comfyui_s_names_are_those_of_its_key_map(tmp_path):
    """Of comfy/lora.py: lora_unet_ and the path in diffusers, with underscores; up, down, and alpha, here the rank."""
    guard = tiny.guard("uce")
    tensors = load_file(release_lora(tiny.pipeline(), [guard], tmp_path / "lora", model="m", dialect="comfyui") / FILE)
    layers = {
        f"lora_unet_{key.removeprefix('unet.').removesuffix('.weight').replace('.', '_')}" for key in guard.weights()
    }
    found = {name.partition(".")[0] for name in tensors}
    assert found and found <= layers
    for layer in found:
        assert tensors[f"{layer}.alpha"] == len(tensors[f"{layer}.lora_down.weight"])
        assert tensors[f"{layer}.lora_up.weight"].shape[1] == len(tensors[f"{layer}.lora_down.weight"])


def test_comfyui_s_names_are_of_a_unet(tmp_path):
    pipe = tiny_families.pipeline("PixArtSigmaPipeline")
    parameters = pipe.transformer.named_parameters(prefix="transformer")
    key, old = next((key, p) for key, p in parameters if key.endswith("to_k.weight"))
    guard = UCE("banana", tensors={key: old.detach() + 1}, base={"weights": base_of({key: old})})
    with pytest.raises(ConfigError, match="for models with a UNet"):
        release_lora(pipe, [guard], tmp_path / "lora", model="m", dialect="comfyui")


@pytest.mark.parametrize(
    "key", ["unet.conv_in.weight", "unet.mid_block.attentions.0.proj_out.bias", "vae.quant_conv.weight"]
)
def test_what_is_no_linear_layer_of_the_denoiser_is_refused(key, tmp_path):
    pipe = tiny.pipeline()
    component, _, path = key.partition(".")
    old = getattr(pipe, component).get_parameter(path).detach()
    guard = UCE("banana", tensors={key: old + 1}, base={"weights": base_of({key: old})})
    with pytest.raises(ConfigError, match=rf"{key} is no linear layer's weight .*--format diffusers"):
        release_lora(pipe, [guard], tmp_path / "lora", model="m")
    assert not (tmp_path / "lora").exists()


def test_other_weights_are_refused(tmp_path):
    with pytest.raises(ArtefactError, match="other weights"):
        release_lora(tiny.pipeline(seed=1), [tiny.guard("uce")], tmp_path / "lora", model="m")


def test_a_guard_that_acts_while_drawing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="trasce can't be merged"):
        release_lora(tiny.pipeline(), [tiny.guard("trasce")], tmp_path / "lora", model="m")
