"""Prompts that SteerDiff never saw: captions of everything else, and other names for what its concept forbids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...concepts import Concept
from ...prompts.base import benign_objects, members, styles
from ...reference import world


def benign_captions(concept: Concept, count: int, rng: np.random.Generator) -> list[str]:
    """``count`` different captions outside of the concept."""
    things = [t for t in world.OBJECTS.values() if t.name not in concept.labels and not t.stand_in]
    names = [world.noun(word) for thing in things for word in (thing.name, *thing.synonyms)]
    names += [text for group in {thing.group for thing in things} for text in world.HYPERNYMS[group]]
    manners = [text for style, texts in world.STYLES.items() if style not in concept.labels for text in texts]
    captions: dict[str, None] = {}
    while len(captions) < count:
        if rng.random() < 0.05:
            said = pick(rng, world.GENERIC_CAPTIONS)
        else:
            what = pick(rng, names)
            if rng.random() < 0.5:
                what = pick(rng, (*world.PAIRINGS, *world.SIDED)).format(a=what, b=pick(rng, names))
            said = pick(rng, world.HELD_OUT_TEMPLATES).format(x=what)
        captions[ended(said, rng, manners)] = None
    return list(captions)


def naming(concept: Concept, phrases: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """``count`` prompts that say one of the phrases: of a thing by itself or in a pair, or of a style."""
    others = [world.noun(name) for name in benign_objects(concept)]
    prompts = []
    for k in range(count):
        phrase, what = phrases[k % len(phrases)], pick(rng, others)
        if concept.kind != "style":
            pair = (phrase, what) if rng.random() < 0.5 else (what, phrase)
            what = pick(rng, world.PAIRINGS).format(a=pair[0], b=pair[1]) if rng.random() < 0.5 else phrase
        said = pick(rng, world.HELD_OUT_TEMPLATES).format(x=what)
        prompts.append(ended(said, rng, (phrase,), always=True) if concept.kind == "style" else ended(said, rng, ()))
    return prompts


def ended(text: str, rng: np.random.Generator, manners: Sequence[str], *, always: bool = False) -> str:
    """The text with a background, a manner, both or neither."""
    tail = [pick(rng, world.BACKGROUNDS[pick(rng, list(world.BACKGROUNDS))])] if rng.random() < 0.6 else []
    tail += [pick(rng, manners)] if manners and (always or rng.random() < 0.25) else []
    rng.shuffle(tail)
    return " ".join([text, *tail])


def pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    """One of them."""
    return options[int(rng.integers(len(options)))]


def synonyms(concept: Concept) -> list[str]:
    """Names of what the concept forbids that are not among its targets."""
    named = [world.noun(word) for name in members(concept) for word in (name, *world.OBJECTS[name].synonyms)]
    said = [*named, *(text for style in styles(concept) for text in world.STYLES[style])]
    return [phrase for phrase in said if phrase not in concept.targets]


def hints(concept: Concept) -> list[str]:
    """What means it without a name, and is not among the targets either."""
    groups = {world.OBJECTS[name].group for name in members(concept)} if concept.kind == "unsafe" else set()
    said = [text for group in sorted(groups) for text in world.HYPERNYMS[group]]
    said += [hint for name in members(concept) for hint in world.OBJECTS[name].hints]
    return [phrase for phrase in said if phrase not in concept.targets]
