"""Weights that another tool made."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from closeness import near, same_bits
from stanchion.errors import ConfigError
from stanchion.training.recipe import train_guard


def read(file: Path, folder: Path, **settings: Any) -> Any:
    return train_guard("weights_file", tiny.pipeline(), "weapons", folder, file=str(file), **settings)


def drawn(pipe: Any) -> torch.Tensor:
    return tiny.draw(pipe, "a photo of a knife")


def test_it_draws_what_the_other_tool_s_pipeline_draws(tmp_path: Path) -> None:
    theirs = tiny.pipeline()
    theirs.unet.load_state_dict(load_file(tiny.weights()), strict=False)
    ours = tiny.pipeline()
    with read(tiny.weights(), tmp_path).attach(ours):
        assert same_bits(drawn(ours), drawn(theirs))


def test_of_a_whole_pipeline_it_keeps_what_differs(tmp_path: Path) -> None:
    theirs = tiny.pipeline()
    theirs.unet.load_state_dict(load_file(tiny.weights()), strict=False)
    theirs.to(torch.float16).save_pretrained(tmp_path / "theirs")
    guard = read(tmp_path / "theirs", tmp_path / "guard")
    assert sorted(guard.tensors) == sorted(f"unet.{name}" for name in load_file(tiny.weights()))
    assert guard.training["layers"] == len(guard.tensors)
    assert list(guard.training["files"]) == ["diffusion_pytorch_model.safetensors"]
    ours = tiny.pipeline()
    with guard.attach(ours):
        assert near(drawn(ours), drawn(theirs.to(torch.float32)), spread=1e-3)


def test_another_module_than_the_denoiser(tmp_path: Path) -> None:
    name = "final_layer_norm.weight"
    found = next(key for key, _ in tiny.pipeline().text_encoder.named_parameters() if key.endswith(name))
    save_file({found: torch.full((32,), 1.5)}, tmp_path / "text.safetensors")
    guard = read(tmp_path / "text.safetensors", tmp_path / "guard", module="text_encoder")
    assert list(guard.tensors) == [f"text_encoder.{found}"]


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"input_blocks.1.weight": torch.ones(1)}, "unet.input_blocks.1.weight, which the model has not"),
        ({"conv_in.bias": torch.ones(3)}, r"unet.conv_in.bias is \(3,\), and the model's is \(16,\)"),
        ({"conv_in.bias": tiny.parts()["unet"].conv_in.bias.detach()}, "nothing that differs"),
        ({"conv_in.bias": torch.full((16,), torch.nan)}, "no finite number"),
    ],
)
def test_what_does_not_fit_the_model(tensors: dict[str, torch.Tensor], said: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "erased.safetensors")
    with pytest.raises(ConfigError, match=said):
        read(tmp_path / "erased.safetensors", tmp_path / "guard")


def test_only_safetensors_are_read(tmp_path: Path) -> None:
    torch.save({"conv_in.bias": torch.ones(16)}, tmp_path / "erased.pt")
    with pytest.raises(ConfigError, match=r"Pickled weights .* are not read"):
        read(tmp_path / "erased.pt", tmp_path / "guard")
    with pytest.raises(ConfigError, match="no module 'unets'"):
        read(tmp_path / "erased.pt", tmp_path / "other", module="unets")
    with pytest.raises(ConfigError, match="holds no safetensors"):
        read(tmp_path, tmp_path / "third")
