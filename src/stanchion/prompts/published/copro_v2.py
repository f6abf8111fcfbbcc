"""Published: CoProV2, unsafe prompts in seven categories, from SafetyDPO. MIT."""

from __future__ import annotations

from .base import PublishedPrompts


class CoProV2(PublishedPrompts):
    """8,000 rows to test, 32,086 to train on: prompt, image, category (arXiv 2412.10493)."""

    name = "copro_v2"
    role = "unsafe"
    source = "https://github.com/Visualignment/SafetyDPO"
