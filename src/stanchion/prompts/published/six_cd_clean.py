"""Published: Six-CD's dual prompts without their target. MIT."""

from __future__ import annotations

from .base import PublishedPrompts


class SixCDClean(PublishedPrompts):
    """Six-CD (arXiv 2406.14855), dual version: ``clean.csv`` of a kind.

    Columns: case_number, evaluation_seed, prompt.
    """

    name = "six_cd_clean"
    role = "benign"
    source = "Datasets/Dual-Version of https://github.com/Artanisax/Six-CD"
