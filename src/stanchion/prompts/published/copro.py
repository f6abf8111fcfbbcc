"""Published: unsafe prompts of CoPro, from Latent Guard. BSD-3-Clause."""

from __future__ import annotations

from .base import PublishedPrompts


class CoPro(PublishedPrompts):
    """One JSON file of several lists (arXiv 2404.08031): ``entry`` chooses ID_test_data or OOD_test_data.

    Rows: unsafe_prompt, safe_prompt, concept. ``copro_safe`` has the other half of each pair.
    """

    name = "copro"
    role = "unsafe"
    source = "https://github.com/rt219/LatentGuard"
    text = ("unsafe_prompt",)
    entry = "ID_test_data"
