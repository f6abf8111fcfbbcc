"""The small vocabulary: a byte-pair tokenizer trained on the world's captions and on common words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from transformers import CLIPTokenizer

from . import world

CONTEXT = 32
LONGEST_CAPTION = 24  # tokens, start and end included: the last positions stay padding for adapters that own them

FILLERS = tuple(Path(__file__).with_name("fillers.txt").read_text(encoding="utf-8").split())


def corpus(seed: int = 0, count: int = 40_000) -> list[str]:
    """Captions as training will see them, and every filler often enough to become a token of its own."""
    rng = np.random.default_rng(seed)
    captions = [spoken(world.sample(rng, tuple(world.OBJECTS)), rng) for _ in range(count)]
    return captions + list(FILLERS) * 60


def spoken(scene: world.Scene, rng: np.random.Generator) -> str:
    """A caption with, now and then, words that say nothing of the picture: the text encoder learns to pass them by."""
    text = world.describe(scene, rng)
    if text and rng.random() < 0.15:
        parts = text.split()
        for _ in range(int(rng.integers(1, 4))):
            parts.insert(int(rng.integers(len(parts) + 1)), FILLERS[int(rng.integers(len(FILLERS)))])
        text = " ".join(parts)
    return text


def train_tokenizer(folder: Path, size: int = 1500) -> CLIPTokenizer:
    """Learn merges on the corpus and write a ``CLIPTokenizer`` of ``size`` entries to ``folder``."""
    from tokenizers import trainers

    shape = CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1}, merges=[]).backend_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=size - 2, end_of_word_suffix="</w>", initial_alphabet=_alphabet(), show_progress=False
    )
    shape.train_from_iterator(corpus(), trainer)
    learnt = json.loads(shape.to_str())["model"]
    symbols = [s for s in sorted(learnt["vocab"], key=learnt["vocab"].get) if not s.startswith("<|")]
    # As in CLIP's own vocabulary every byte may also end a word, seen in training or not.
    symbols = [*symbols, *(f"{byte}</w>" for byte in _alphabet() if f"{byte}</w>" not in learnt["vocab"])]
    vocab = {symbol: place for place, symbol in enumerate([*symbols, "<|startoftext|>", "<|endoftext|>"])}
    merges = [tuple(merge) for merge in learnt["merges"]]
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _alphabet() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())
