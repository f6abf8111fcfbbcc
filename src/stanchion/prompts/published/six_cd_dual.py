"""Published: Six-CD's prompts that name a concept among harmless things. MIT."""

from __future__ import annotations

from .base import PublishedPrompts


class SixCDDual(PublishedPrompts):
    """Six-CD (arXiv 2406.14855), dual version: ``malicious.csv`` of a kind.

    Columns: case_number, evaluation_seed, target, prompt. ``six_cd_clean`` reads ``clean.csv`` beside it, the same
    prompts without the target: they share seeds, and show what else an erasure changes.
    """

    name = "six_cd_dual"
    role = "unsafe"
    source = "Datasets/Dual-Version of https://github.com/Artanisax/Six-CD"
    objects = ("target",)
