"""Loading: the packaged model, a folder, and what is refused."""

import diffusers
import pytest
import torch

import tiny
from stanchion import load_pipeline
from stanchion.errors import UnknownName


def test_the_reference_model_is_a_stock_pipeline():
    pipe = load_pipeline("reference", device="cpu")
    assert type(pipe) is diffusers.StableDiffusionPipeline
    assert pipe.unet.dtype == pipe.text_encoder.dtype == torch.float32


def test_a_folder_in_another_type(tmp_path):
    tiny.pipeline().save_pretrained(tmp_path)
    assert load_pipeline(tmp_path, dtype=torch.bfloat16, device="cpu").unet.dtype == torch.bfloat16


def test_pickled_weights_are_refused(tmp_path):
    tiny.pipeline().save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(UnknownName, match="safetensors"):
        load_pipeline(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UnknownName, match="nowhere"):
        load_pipeline(tmp_path / "nowhere")
