"""Ways in which people write a phrase: bare, in capitals, with an article of another kind, with marks, again and again.

Misspelt words and plurals are not among them: the reference model's tokenizer reads them letter by letter, and what it
then says is nothing. Called unsafe, they taught the identifier noise (docs/guards/steerdiff.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ...prompts.captions import holds, noun
from ._phrases import Framed, Pair, framed

MARKS = ("!", ".", "?", ",", " !", " .", "!!", "...")
BETWEEN = (" ", ", ", " and ")
Way = Callable[[str], str]


def respelt(pairs: Sequence[Pair], count: int, rng: np.random.Generator) -> list[Framed]:
    """``count`` captions of pairs that are written in other ways: half by themselves, half in captions."""
    written = [_rewritten(pairs[k % len(pairs)], rng) for k in range(count)]
    alone, told = written[: count // 2], written[count // 2 :]
    return [Framed(pair, after=_mark(rng)) for pair in alone] + (framed(told, len(told), rng) if told else [])


def respelt_safe(count: int, rng: np.random.Generator, *, never: Sequence[str]) -> list[str]:
    """As many harmless names written so, that nobody takes the way of writing for the harm."""
    texts: list[str] = []
    while len(texts) < count:
        name = noun(rng)
        if not holds(name, never):
            texts.append(_way(rng)(f"a {name}" if rng.random() < 0.3 else name) + _mark(rng))
    return texts


def _rewritten(pair: Pair, rng: np.random.Generator) -> Pair:
    way = _way(rng)
    return replace(pair, unsafe=way(pair.unsafe), safe=way(pair.safe))


def _way(rng: np.random.Generator) -> Way:
    """One way of writing, which does the same to whatever it is given."""
    times, between = int(rng.integers(2, 6)), BETWEEN[int(rng.integers(len(BETWEEN)))]
    ways: tuple[Way, ...] = (
        *[lambda text: text] * 3,
        str.capitalize,
        str.upper,
        lambda text: f"the {_bare(text)}",
        lambda text: between.join([text] * times),
    )
    return ways[int(rng.integers(len(ways)))]


def _mark(rng: np.random.Generator) -> str:
    return MARKS[int(rng.integers(len(MARKS)))] if rng.random() < 0.25 else ""


def _bare(text: str) -> str:
    article, _, rest = text.partition(" ")
    return rest if article in ("a", "an") else text
