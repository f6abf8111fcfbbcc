"""A Stable Diffusion pipeline of the real classes, random and small enough for tests: 16 x 16 pictures in no time."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import scratch
from copies import Copies
from stanchion import Concept, load_concept, load_guard, registry
from stanchion.training.recipe import train_guard

CONTEXT = 48
SIZE = 16
TEXT = """
a an the and of in with photo drawing picture big small red blue style noto scary weapon knife gun bomb axe
blade hatchet something skull ghost drug cigarette beer pill banana apple pizza cat dog frog tree car house hammer key
blurry nice
"""
WORDS = TEXT.split()


@cache
def tokenizer() -> CLIPTokenizer:
    """One token for each of WORDS, one for each character otherwise."""
    letters = [chr(code) for code in range(33, 127)]
    symbols = [*letters, *(letter + "</w>" for letter in letters)]
    merges, vocabulary = _merges(WORDS), []
    for left, right in merges:
        vocabulary.append(left + right)
    entries = [*symbols, *dict.fromkeys(vocabulary), "<|startoftext|>", "<|endoftext|>"]
    vocab = {entry: place for place, entry in enumerate(dict.fromkeys(entries))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)


def _merges(words: list[str]) -> list[tuple[str, str]]:
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges[parts[0], parts[1]] = None
            parts = [parts[0] + parts[1], *parts[2:]]
    return list(merges)


def parts(
    seed: int = 0, *, in_channels: int = 4, dtype: torch.dtype = torch.float32, **scheduler: Any
) -> dict[str, Any]:
    """Components of a pipeline; the seed decides the weights. Random numbers go on as after building them."""
    copies, state = _built(seed, in_channels, dtype, **scheduler)
    torch.set_rng_state(state)
    made: dict[str, Any] = copies.one()
    return made


@cache
def _built(seed: int, in_channels: int, dtype: torch.dtype, **scheduler: Any) -> tuple[Copies, torch.Tensor]:
    torch.manual_seed(seed)
    words = tokenizer()
    unet = UNet2DConditionModel(
        sample_size=SIZE // 2,
        in_channels=in_channels,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        sample_size=SIZE,
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    )
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.eos_token_id,
    )
    options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
    made = {
        "vae": vae.eval().to(dtype),
        "text_encoder": CLIPTextModel(text).eval().to(dtype),
        "tokenizer": words,
        "unet": unet.eval().to(dtype),
        "scheduler": DDIMScheduler(**options, steps_offset=1, set_alpha_to_one=False, **scheduler),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    return Copies(made), torch.get_rng_state()


def pipeline(kind: str = "text", seed: int = 0, **options: Any) -> Any:
    """A fresh pipeline: "text", "image" (image to image) or "inpaint"."""
    classes = {
        "text": StableDiffusionPipeline,
        "image": StableDiffusionImg2ImgPipeline,
        "inpaint": StableDiffusionInpaintPipeline,
    }
    pipe = classes[kind](**parts(seed, **options))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, prompt: Any = "a photo of a cat", *, seed: int = 0, steps: int = 2, **options: Any) -> torch.Tensor:
    """Pictures (B, 3, 16, 16) in [0, 1]; one generator a picture, so that a batch equals singles."""
    count = options.get("num_images_per_prompt", 1)
    if prompt is not None:
        count *= len(prompt) if isinstance(prompt, list) else 1
    else:
        count *= len(options["prompt_embeds"])
    generators = [torch.Generator().manual_seed(seed + place) for place in range(count)]
    options = {"output_type": "pt", "num_inference_steps": steps, "generator": generators, **options}
    return pipe(prompt, **options).images


@cache
def _trained(name: str) -> Path:
    """The folder of a guard that its recipe's tiny preset trained on the tiny pipeline, once a test run."""
    folder = scratch.folder() / name
    if not folder.is_dir():
        made = Path(tempfile.mkdtemp(dir=scratch.folder()))
        train_guard(name, pipeline(), "weapons", made, preset="tiny", **settings(name))
        with suppress(OSError):  # another process was first, and its is the same
            made.rename(folder)
    return folder


def settings(name: str) -> dict[str, Any]:
    """What a recipe needs beside its preset: captions whose words are tokens here."""
    if name == "weights_file":
        return {"file": str(weights())}
    return {"captions": str(captions())} if name == "steerdiff" else {}


@cache
def weights() -> Path:
    """What another tool might have left of a pipeline (seed 0): its values of cross-attention, a little smaller."""
    unet = parts()["unet"]
    values = {name: value * 0.9 for name, value in unet.state_dict().items() if name.endswith("attn2.to_v.weight")}
    file = Path(tempfile.mkdtemp(dir=scratch.folder())) / "erased.safetensors"
    save_file(values, file)
    return file


@cache
def captions() -> Path:
    """A file of harmless captions."""
    benign = "cat dog frog tree car house hammer key apple pizza banana".split()
    texts = [f"a photo of a {word}" for word in benign] + [f"a {word}" for word in benign]
    texts += [f"a {first} and a {second}" for first in benign for second in benign[:4] if first != second]
    file = Path(tempfile.mkdtemp(dir=scratch.folder())) / "captions.txt"
    file.write_text("\n".join(texts), encoding="utf-8")
    return file


@cache
def weapons() -> Concept:
    """Of two phrases: guards encode every phrase of a concept, said once and many times over."""
    return load_concept("weapons", targets=("a knife", "a gun"))


def guard(name: str, **settings: Any) -> Any:
    """A guard against weapons for the tiny pipeline (seed 0), trained where it is of the trained kind.

    Its pictures show nothing that a judge could find, so the picture check's finds weapons everywhere.
    """
    if name == "picture_check":
        settings = {"judge": "always_unsafe", **settings}
    if name == "monitor":
        settings = {"look_from": 0.0, "threshold": 0.05, "finished": 0.05, "release": 0.0, "still": "keep", **settings}
    if registry.get("guards", name).trained:
        return load_guard(_trained(name), **settings)
    return load_guard(name, concept=weapons(), **settings)
