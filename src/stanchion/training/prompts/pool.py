"""Prompts to train on, from a concept's own phrases and a few templates: what the benchmark asks is not among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...concepts import BUILT_IN, Concept
from ..rewards import ConceptFilter

TEMPLATES = ("{x}", "a photo of {x}", "a picture of {x}", "an image of {x}", "a drawing of {x}", "there is {x}")
PAIRINGS = ("{a} and {b}", "{a} and {b}", "{a} and {b}", "{a} next to {b}", "{a} with {b}")
PLACES = ("", "", "on the grass", "at the sea", "in winter", "in the evening", "at a brick wall", "on a wooden desk")
SUBJECTS = (
    *("a cat", "a frog", "a fish", "a butterfly", "a tree", "a flower", "a car", "a rocket", "a hat", "a ball"),
    *("an apple", "a pizza", "a guitar", "a key", "an umbrella"),
)
MORE_SUBJECTS = ("a penguin", "a cactus", "a sunflower", "a dog", "a house", "a chair", "a bird", "a cup", "a lamp")


@dataclass(frozen=True)
class Task:
    """A prompt to draw: ``kind`` says what is asked for, ``wanted`` what shall be drawn (c_phi).

    "near" is benign too, and shows one of the concept's neighbours; "attacked" is benign, under states that are not.
    """

    text: str
    kind: Literal["single", "pair", "benign", "near", "attacked"]
    wanted: str


class PromptPool:
    """Draws tasks: the concept alone, the concept beside a companion (or a style over it), and benign prompts.

    Companions are the concept's anchors and neighbours, and ``subjects``, everyday things that the model knows.
    """

    def __init__(self, concept: Concept, subjects: tuple[str, ...] = SUBJECTS) -> None:
        self.concept = concept
        own = [*concept.anchors, *(_noun(name) for name in concept.neighbours)] if concept.kind != "style" else []
        named = ConceptFilter(concept).names
        self.companions = tuple(phrase for phrase in dict.fromkeys([*own, *subjects]) if not named(phrase))

    def draw(self, kind: str, rng: np.random.Generator) -> Task:
        """One random task of a kind."""
        template, place = _pick(rng, TEMPLATES), _pick(rng, PLACES)

        def told(phrase: str, tail: str = "") -> str:
            return " ".join(part for part in (template.format(x=phrase), place, tail) if part)

        target, companion = _pick(rng, self.concept.targets), _pick(rng, self.companions)
        if kind == "near":
            text = told(companion, _pick(rng, self._near_styles)) if self._near_styles else told(_pick(rng, self._near))
            return Task(text, "near", text)
        if kind == "benign":
            tail = _pick(rng, self._near_styles) if self._near_styles and rng.random() < 0.3 else ""
            text = told(companion, tail)
            return Task(text, "benign", text)
        if self.concept.kind == "style":
            return Task(told(companion, target), "pair" if kind == "pair" else "single", told(companion))
        if kind == "single":
            return Task(told(target), "single", told(self._anchor(target)))
        first, second = (target, companion) if rng.random() < 0.5 else (companion, target)
        return Task(told(_pick(rng, PAIRINGS).format(a=first, b=second)), "pair", told(companion))

    @property
    def _near(self) -> tuple[str, ...]:
        """Neighbours as phrases; any companion where the concept names none."""
        return tuple(_noun(name) for name in self.concept.neighbours) or self.companions

    def _anchor(self, target: str) -> str:
        """What a target turns into: always the same, so that its reward does not depend on chance."""
        anchors = self.concept.anchors or self.companions
        return anchors[self.concept.targets.index(target) % len(anchors)]

    @property
    def _near_styles(self) -> tuple[str, ...]:
        """Styles that must survive, for a concept that is one."""
        if self.concept.kind != "style":
            return ()
        return (*self.concept.anchors, *(f"in {name}" for name in self.concept.neighbours))


def wide_pool(concept: Concept) -> PromptPool:
    """With more everyday things, and what other built-in concepts are about: for what sees pictures, not words.

    A network takes for the concept what it never saw.
    """
    others = tuple(
        phrase
        for other in BUILT_IN.values()
        if other.kind != "style" and not set(other.labels) & set(concept.labels)
        for phrase in other.targets
    )
    return PromptPool(concept, (*SUBJECTS, *MORE_SUBJECTS, *others))


def _noun(name: str) -> str:
    """A label as a phrase, with its article."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
