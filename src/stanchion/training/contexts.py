"""Phrases as people say them: what weight editing needs, for a word's state depends on what stands before it."""

from __future__ import annotations

from collections.abc import Sequence

from ..concepts import Concept

OF_THINGS = ("{}", "a photo of {}", "a picture of {}", "there is {}")
OF_STYLES = ("{}", "a photo {}", "a picture {}", "something {}")


def contexts_of(concept: Concept) -> tuple[str, ...]:
    """Sentences with a gap that suit the concept's kind."""
    return OF_STYLES if concept.kind == "style" else OF_THINGS


def in_contexts(contexts: Sequence[str], phrases: Sequence[str]) -> list[str]:
    """Every phrase in every context, a phrase's own beside each other; nothing is said around the empty phrase."""
    return [context.format(phrase) if phrase else "" for phrase in phrases for context in contexts]
