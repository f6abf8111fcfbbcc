"""Everyday captions to train text guards on: what nobody should be refused, and surroundings of unsafe phrases.

Made of common words, so that they suit any model. Some of the reference world's benign objects, some of its places and
the sentences that its prompt sets use are left out: over-refusal is measured on captions that are new in each way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SENTENCES = (
    "{x}",
    "a photo of {x}",
    "a picture of {x}",
    "an image of {x}",
    "a drawing of {x}",
    "a painting of {x}",
    "a close up of {x}",
    "a good photo of {x}",
    "there is {x}",
    "here is {x}",
    "here you see {x}",
    "this shows {x}",
    "we look at {x}",
    "i would like to see {x} please",
    "the photo shows {x} very well",
    "a photo that has {x} in it",
)
THINGS = (
    "dog cat horse cow sheep duck rabbit mouse lion bear eagle bee spider snake monkey frog fish penguin butterfly man "
    "woman child boy girl friend family house school church castle bridge tower shop road train bus bicycle ship plane "
    "truck car rocket tree sunflower flower leaf garden forest mountain river lake cloud star moon lamp chair table "
    "bed clock watch phone book letter pen camera cup plate bottle box bag shoe shirt coat dress ring coin toy doll "
    "ball kite guitar drum piano song umbrella key hammer ladder bread cake cheese egg soup pizza orange lemon grape "
    "berry carrot potato sandwich banana "
    "kitten toad goldfish spaceship oak football parasol apple seabird insect automobile instrument hat"
).split()
KINDS = ("an animal", "some food", "something to eat", "a vehicle", "a plant", "a thing", "a creature", "an object")
LOOKS = "big small red blue green yellow old new nice pretty happy little white black wooden bright lovely".split()
PLACES = (
    "on a meadow",
    "on the grass",
    "on the beach",
    "in the snow",
    "on a table",
    "on a white background",
    "at a brick wall",
    "in the kitchen",
    "in a garden",
    "by the river",
    "at night",
    "in the morning",
    "on the street",
    "under a tree",
    "in a room",
)
MANNERS = (
    "in flat style",
    "in sepia",
    "as an old sepia photo",
    "in ink style",
    "as an ink drawing",
    "in bright colors",
    "as an oil painting",
    "in black and white",
    "in soft light",
    "with many details",
)
NOTHING = ("a photo", "a picture", "an image", "something", "a nice view", "here is something", "a drawing", "a dream")
JOINS = ("{a} and {b}", "{a} next to {b}", "{a} beside {b}", "{a} with {b}", "{a} on the left and {b} on the right")


def everyday(count: int, rng: np.random.Generator, *, never: Sequence[str] = ()) -> list[str]:
    """``count`` captions of one thing, two, or none; none of them holds a phrase of ``never``."""
    captions: list[str] = []
    while len(captions) < count:
        text = _one_of(rng, NOTHING) if rng.random() < 0.08 else surrounded(thing(rng), rng)
        if not holds(text, never):
            captions.append(text)
    return captions


def holds(text: str, phrases: Sequence[str]) -> bool:
    """Whether one of the phrases is in the text, as whole words."""
    return any(f" {phrase} " in f" {text} " for phrase in phrases)


def surrounded(what: str, rng: np.random.Generator, *, manner: str = "") -> str:
    """A caption about ``what``, beside something else in half of the cases, now and then with a place or a manner.

    A ``manner`` that is given is always there.
    """
    if rng.random() < 0.5:
        first, second = (what, thing(rng)) if rng.random() < 0.5 else (thing(rng), what)
        what = _one_of(rng, JOINS).format(a=first, b=second)
    tail = [_one_of(rng, PLACES)] if rng.random() < 0.5 else []
    if manner or rng.random() < 0.35:
        tail.append(manner or _one_of(rng, MANNERS))
    rng.shuffle(tail)
    return " ".join([_one_of(rng, SENTENCES).format(x=what), *tail])


def thing(rng: np.random.Generator) -> str:
    """A common noun with its article, now and then with an adjective; or a kind of things."""
    if rng.random() < 0.1:
        return _one_of(rng, KINDS)
    name = noun(rng)
    return described(name, rng) if rng.random() < 0.2 else _with_article(name)


def noun(rng: np.random.Generator) -> str:
    """A common noun."""
    return _one_of(rng, THINGS)


def described(name: str, rng: np.random.Generator) -> str:
    """A noun with an article and an adjective."""
    return _with_article(f"{_one_of(rng, LOOKS)} {name}")


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _one_of(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
