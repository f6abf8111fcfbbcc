"""Published: PartiPrompts, 1,632 harmless prompts of all difficulties. Apache-2.0."""

from __future__ import annotations

from .base import PublishedPrompts


class PartiPrompts(PublishedPrompts):
    """Columns: Prompt, Category, Challenge, Note (arXiv 2206.10789)."""

    name = "parti_prompts"
    role = "benign"
    source = "PartiPrompts.tsv of https://github.com/google-research/parti, or the Hub's nateraw/parti-prompts"
    hub = "nateraw/parti-prompts"
