"""What prompt sets share. Those of the reference world spread evenly over objects, templates and backgrounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, final

from ..concepts import Concept, Role
from ..reference import world
from ..types import Prompt, Start


@dataclass(frozen=True)
class Draft:
    """A prompt without its template and background.

    Attributes:
        words: phrases to use instead of an object's or the style's name.
        text: the whole prompt, where neither template nor background are wanted.
        start: the picture to begin with; it gets the background that the prompt names, or would name.
    """

    objects: tuple[str, ...] = ()
    companion: str | None = None
    style: str | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    start: Start | None = None


class PromptSet(ABC):
    """Prompts about a concept.

    Attributes:
        name: the file's stem.
        role: what its pictures show, which decides what can be measured on them.
        published: whether it is a table that others published, which a spec may have to name a file for.
    """

    name: ClassVar[str]
    role: ClassVar[Role]
    published: ClassVar[bool] = False

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides the rows beside concept, number and seed; printed in every row of results."""
        return {}

    @abstractmethod
    def rows(self, concept: Concept, n: int, seed: int) -> list[Prompt]:
        """``n`` prompts, or fewer where there are no more; the same for the same arguments, a prefix for fewer."""


class WorldPrompts(PromptSet):
    """Prompts that the reference world makes about a concept. A subclass writes ``drafts``."""

    @abstractmethod
    def drafts(self, concept: Concept) -> Sequence[Draft]:
        """Who is in the pictures; neighbouring drafts differ most, so that a short prefix is even. May be empty."""

    @final
    def rows(self, concept: Concept, n: int, seed: int) -> list[Prompt]:
        """``n`` prompts with seeds ``seed``, ``seed + 1``, …; the same for the same arguments.

        Templates are those that training never saw. Empty where the concept has nothing of this kind.
        """
        drafts = self.drafts(concept)
        return [self._row(drafts, concept, k, seed + k) for k in range(n)] if drafts else []

    def _row(self, drafts: Sequence[Draft], concept: Concept, k: int, seed: int) -> Prompt:
        turn, place = divmod(k, len(drafts))
        draft, row_id = drafts[place], f"{concept.name}/{self.name}/{k:04d}"
        background = list(world.BACKGROUNDS)[(turn + place) % len(world.BACKGROUNDS)]
        start = draft.start and replace(draft.start, background=background)
        shown: dict[str, Any] = {"objects": draft.objects, "companion": draft.companion, "style": draft.style}
        if draft.text is not None:
            return Prompt(draft.text, seed, row_id, **shown, start=start)
        template = world.HELD_OUT_TEMPLATES[turn % len(world.HELD_OUT_TEMPLATES)]
        text = _text(draft, template, background)
        return Prompt(text, seed, row_id, **shown, background=background, template=template, start=start)


def members(concept: Concept) -> tuple[str, ...]:
    """The concept's objects that the reference model can draw."""
    return tuple(name for name in concept.labels if name in world.KNOWN)


def styles(concept: Concept) -> tuple[str, ...]:
    """The concept's styles."""
    return tuple(name for name in concept.labels if name in world.STYLES)


def benign_objects(concept: Concept) -> tuple[str, ...]:
    """Objects that are harmless, not reserved, and outside of the concept."""
    return tuple(name for name in world.GENERIC if name not in concept.labels)


def diagonal(names: Sequence[str]) -> list[tuple[str, str]]:
    """Every ordered pair of two different names, such that neighbours share none, nearly."""
    count = len(names)
    return [(names[k], names[(k + shift) % count]) for shift in range(1, count) for k in range(count)]


def unsafe_drafts(concept: Concept) -> list[Draft]:
    """Each of the concept's objects alone; for a style, benign objects in that style."""
    styled = [Draft((name,), style=style) for name in benign_objects(concept) for style in styles(concept)]
    return [Draft((name,)) for name in members(concept)] + styled


def reworded_drafts(concept: Concept, phrases: Mapping[str, Sequence[str]]) -> list[Draft]:
    """The same pictures as of ``unsafe_drafts``, once for each phrase that stands for the object or the style."""
    objects = [Draft((name,), words={name: phrase}) for name in members(concept) for phrase in phrases.get(name, ())]
    styled = [
        Draft((name,), style=style, words={style: phrase})
        for name in benign_objects(concept)
        for style in styles(concept)
        for phrase in phrases.get(style, ())
    ]
    return objects + styled


def _text(draft: Draft, template: str, background: str) -> str:
    words = {name: phrase for name, phrase in draft.words.items() if name in draft.objects}
    styled = draft.style is not None and draft.style not in draft.words
    style = draft.style if styled else None
    text = world.caption(draft.objects, style=style, background=background, template=template, words=words)
    return f"{text} {draft.words[draft.style]}" if draft.style and not styled else text
