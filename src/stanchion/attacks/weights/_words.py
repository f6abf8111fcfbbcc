"""What an attacker calls the thing that a model shall draw again."""

from __future__ import annotations

from dataclasses import replace

from ..base import Material


def renamed(material: Material, phrase: str) -> Material:
    """The material with ``phrase`` in place of every subject."""
    named = zip(material.captions, material.subjects, strict=True)
    captions = tuple(caption.replace(subject, phrase) for caption, subject in named)
    return replace(material, captions=captions, subjects=(phrase,) * len(captions))
