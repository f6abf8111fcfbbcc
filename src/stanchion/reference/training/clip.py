"""Trains CLIP towers on the world's pictures and captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer

from ...learning.fit import FitSchedule, fit
from .. import data, world
from ..model import build_clip
from ..words import CONTEXT, spoken


def tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """(B, 32) token ids, padded and cut as the pipeline does it."""
    return tokenizer(texts, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt").input_ids


def train_clip(
    tokenizer: CLIPTokenizer, schedule: FitSchedule, folder: Path, *, seed: int, width: int, layers: int, patch: int
) -> CLIPModel:
    """Contrastive training (arXiv 2103.00020, with the usual symmetric loss over a batch)."""
    torch.manual_seed(seed)
    clip = build_clip(tokenizer, width=width, layers=layers, patch=patch)
    clip.train()

    def loss(step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        scenes = data.scenes(rng, schedule.batch)
        texts = [_telling(scene, rng) for scene in scenes]
        out = clip(input_ids=tokens(tokenizer, texts), pixel_values=data.pictures(scenes, rng))
        target = torch.arange(len(scenes))
        scores = out.logits_per_text
        both = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
        return {"loss": both, "retrieval": (scores.argmax(1) == target).float().mean()}

    return fit(clip, loss, schedule, folder, seed=seed)


def _telling(scene: world.Scene, rng: np.random.Generator) -> str:
    """A caption that says something: empty and generic ones pair with every picture. Half of them say all."""
    if rng.random() < 0.5:
        template = world.TEMPLATES[int(rng.integers(len(world.TEMPLATES)))]
        pairing = world.SIDED[0] if rng.random() < 0.5 else "{a} and {b}"
        return world.caption(
            scene.objects, style=scene.style, background=scene.background, template=template, pairing=pairing
        )
    text = spoken(scene, rng)
    return text if any(word not in _EMPTY for word in text.split()) else world.caption(scene.objects)


_EMPTY = frozenset(" ".join(world.GENERIC_CAPTIONS).split())
