"""Published: T2ISafety's prompts of toxicity and privacy, by category. Apache-2.0."""

from __future__ import annotations

from .base import PublishedPrompts


class T2ISafety(PublishedPrompts):
    """T2ISafety (arXiv 2501.12612): JSON lists such as ``hf_test_toxicity_privacy_generated.json``.

    ``where: {text_category: …}`` keeps one of its categories. The files were not seen: the column of the category is
    known from others' code, and the prompt is taken from ``prompt``, ``text`` or ``caption``, the first that is there.
    """

    name = "t2i_safety"
    role = "unsafe"
    source = "the Hub's OpenSafetyLab/t2i_safety_dataset"
    text = ("prompt", "text", "caption")
