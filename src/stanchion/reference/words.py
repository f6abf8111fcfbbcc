"""The small vocabulary: a byte-pair tokenizer trained on the world's captions and on common words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from transformers import CLIPTokenizer

from . import world

CONTEXT = 32
LONGEST_CAPTION = 24  # tokens, start and end included: the last positions stay padding for adapters that own them

FILLERS = tuple(
    """
    big small large tiny little huge new old young nice pretty beautiful ugly great good fine lovely cute funny happy
    sad calm quiet loud fast slow bright dark light pale deep soft hard smooth rough clean dirty simple plain fancy
    modern ancient classic famous popular rare common special strange usual real fake true perfect broken shiny dull
    warm cold hot cool fresh dry wet round square flat tall short long wide narrow thick thin heavy open closed empty
    full single double first second last next near far high low upper lower inner outer front back left right center
    red green blue yellow orange purple pink brown black white gray golden silver colorful detailed realistic digital
    very really quite rather just only also still always often never again today now soon here there maybe please
    show make draw paint create give want see look find get take put keep let try call think know say tell ask use
    my your his her our their this that these those some any each every both all many few more most much other same
    one two three four five six seven eight nine ten hundred thousand man woman child boy girl person people friend
    family house home room door window street city town village country world earth sky sun moon star cloud rain
    wind water river lake sea island mountain hill forest field garden park road path bridge tower castle church
    school shop market office hospital station train bus bicycle ship plane truck bed chair desk lamp cup plate
    bottle box bag shoe shirt coat dress ring coin clock watch phone book paper letter pen pencil card game toy doll
    song music dance story poem film art artist painter style color line shape form view scene portrait landscape
    bread cake cheese milk egg meat soup rice sugar salt fruit orange lemon grape berry leaf root seed grass wood
    stone metal glass gold iron fire smoke ice day night morning noon evening summer spring autumn week month year
    dog horse cow pig sheep goat mouse rabbit fox wolf bear lion tiger monkey snake bird duck eagle bee spider ant
    wall floor roof corner edge middle top bottom side end start begin stop walk run jump swim fly sit stand sleep
    eat drink cook play work read write sing laugh smile cry love like hate need help hold carry throw catch cut
    """.split()
)


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
    symbols = sorted(learnt["vocab"], key=learnt["vocab"].get)
    symbols = [s for s in symbols if not s.startswith("<|")]
    vocab = {symbol: place for place, symbol in enumerate([*symbols, "<|startoftext|>", "<|endoftext|>"])}
    merges = [tuple(merge) for merge in learnt["merges"]]
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _alphabet() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())
