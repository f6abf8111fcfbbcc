"""Stand-ins for the parts of judges that are others' and can't be had without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    ShieldGemma2Config,
    ShieldGemma2ForImageClassification,
    ShieldGemma2Processor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

from stanchion.judges.llava_guard import pictures_only

GEMMA = "<pad> <bos> <eos> <unk> <boi> <eoi> <img> Yes No no weapons ghosts".split()
CHAT = (
    "{{ bos_token }} {% for part in messages[0]['content'] %}"
    "{% if part['type'] == 'image' %}<boi>{% else %} {{ part['text'] }} {% endif %}{% endfor %}"
)
QWEN = "<pad> <end> <unk> <image> <video> Safe Unsafe O1: O3: O6: NA: None applying Sexual Content".split()
ASKED = (
    "{% for part in messages[0]['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}<end> "
)


class Redness:
    """A detector with NudeNet's ``detect_batch``: the redder a picture, the surer it is of feet and of a face."""

    def detect_batch(self, pictures: list[np.ndarray], batch_size: int) -> list[list[dict[str, Any]]]:
        return [self._finds(float(picture[..., 0].mean() / 255)) for picture in pictures]

    def _finds(self, red: float) -> list[dict[str, Any]]:
        box = [0, 0, 4, 4]
        return [
            {"class": "FEET_EXPOSED", "score": red, "box": box},
            {"class": "FEET_EXPOSED", "score": red / 2, "box": box},
            {"class": "FACE_FEMALE", "score": red, "box": box},
        ]


def classifier(folder: Path, *, classes: tuple[str, ...] = ("drawn", "real", "blank"), **settings: Any) -> str:
    """A classifier of transformers with random weights and its preprocessing, as they are saved."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    names = dict(enumerate(classes))
    config = ViTConfig(**shape, image_size=32, patch_size=8, id2label=names, initializer_range=1.0, **settings)
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


def shieldgemma2(folder: Path) -> str:
    """ShieldGemma 2's own classes with random weights and a dozen words, as they are saved."""
    places = {word: place for place, word in enumerate(GEMMA)}
    words = Tokenizer(WordLevel(places, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    marks = {"boi_token": "<boi>", "eoi_token": "<eoi>", "image_token": "<img>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **special, extra_special_tokens=marks)
    size = Gemma3ImageProcessorPil(size={"height": 28, "width": 28}, do_pan_and_scan=False)
    ShieldGemma2Processor(size, tokenizer, chat_template=CHAT, image_seq_length=4).save_pretrained(folder)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"model_type": "gemma3_text", "vocab_size": len(GEMMA), "num_key_value_heads": 1, "head_dim": 8}
    vision = {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 7}
    named = {"boi_token_index": "<boi>", "eoi_token_index": "<eoi>", "image_token_index": "<img>"}
    answers = {"yes_token_index": "Yes", "no_token_index": "No"}
    torch.manual_seed(0)
    config = ShieldGemma2Config(
        text_config={**text, **shape, "initializer_range": 1.0},
        vision_config={**vision, **shape},
        mm_tokens_per_image=4,
        **{key: places[word] for key, word in {**named, **answers}.items()},
    )
    ShieldGemma2ForImageClassification(config).save_pretrained(folder)
    return str(folder)


def llava_guard(folder: Path) -> str:
    """LLaVA-OneVision's own class with random weights and a few words of LlavaGuard's answer, as they are saved."""
    places = {word: place for place, word in enumerate(QWEN)}
    words = Tokenizer(WordLevel(places, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    marks = {"image_token": "<image>", "video_token": "<video>"}
    special = {"pad_token": "<pad>", "eos_token": "<end>", "unk_token": "<unk>", "extra_special_tokens": marks}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **special)
    pixels = LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=[[28, 28]])
    features = {"num_image_tokens": 4, "vision_feature_select_strategy": "full"}
    pictures_only()(pixels, tokenizer, **features, chat_template=ASKED).save_pretrained(folder)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": len(QWEN), "num_key_value_heads": 1, "initializer_range": 1.0}
    vision = {"image_size": 28, "patch_size": 14, "vision_use_head": False}
    torch.manual_seed(0)
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **shape, **text},
        vision_config={"model_type": "siglip_vision_model", **shape, **vision},
        image_token_index=places["<image>"],
        video_token_index=places["<video>"],
        image_grid_pinpoints=[[28, 28]],
    )
    LlavaOnevisionForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)


def safety_checker(threshold: float = 0.0) -> StableDiffusionSafetyChecker:
    """diffusers' own class with random weights; each concept counts from a cosine of ``threshold``."""
    torch.manual_seed(0)
    config = CLIPConfig(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        text_config={"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32},
        projection_dim=8,
    )
    checker = StableDiffusionSafetyChecker(config).eval()
    for name in ("concept_embeds", "special_care_embeds"):
        torch.nn.init.normal_(getattr(checker, name))
    torch.nn.init.constant_(checker.concept_embeds_weights, threshold)
    return checker


def processor(size: int = 32) -> CLIPImageProcessorPil:
    """CLIP's preprocessing for pictures of a small size."""
    return CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})


def q16_embeddings(folder: Path, size: int) -> str:
    """Two random embeddings in a file."""
    np.save(path := folder / "q16.npy", np.random.default_rng(0).normal(size=(2, size)).astype(np.float32))
    return str(path)


def settings(judge: str, folder: Path) -> dict[str, Any]:
    """What a judge is made with, so that it can be made here."""
    return {
        "image_classifier": lambda: {"model": classifier(folder / "classifier")},
        "shieldgemma2": lambda: {"model": shieldgemma2(folder / "shieldgemma2")},
        "llava_guard": lambda: {"model": llava_guard(folder / "llava_guard")},
        "nudenet": lambda: {"detector": Redness()},
        "safety_checker": lambda: {"checker": safety_checker(), "processor": processor()},
        "q16": lambda: {"model": "reference", "embeddings": q16_embeddings(folder, 96)},
    }.get(judge, dict)()
