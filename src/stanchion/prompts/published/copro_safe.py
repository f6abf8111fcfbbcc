"""Published: the safe twins of CoPro's prompts, from Latent Guard. BSD-3-Clause."""

from __future__ import annotations

from .base import PublishedPrompts


class CoProSafe(PublishedPrompts):
    """The same file as for ``copro`` (arXiv 2404.08031)."""

    name = "copro_safe"
    role = "benign"
    source = "https://github.com/rt219/LatentGuard"
    text = ("safe_prompt",)
    entry = "ID_test_data"
