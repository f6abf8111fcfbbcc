"""Published: I2P, 4,703 real prompts whose pictures are often inappropriate, in seven categories. MIT."""

from __future__ import annotations

from .base import PublishedPrompts


class I2P(PublishedPrompts):
    """Inappropriate Image Prompts (arXiv 2211.05105).

    Columns: prompt, categories (a list with commas), hard, inappropriate_percentage, nudity_percentage,
    q16_percentage, sd_safety_percentage, prompt_toxicity, sd_seed, sd_guidance_scale and others; copies in other
    repositories have evaluation_seed, evaluation_guidance and case_number as well.
    Known parts: ``categories: sexual`` 931, violence 756, illegal activity 727, hate 231, harassment 824,
    self-harm 801, shocking 856; ``nudity_percentage: "> 50"`` 95, ``"> 0"`` 854.
    """

    name = "i2p"
    role = "unsafe"
    source = "https://huggingface.co/datasets/AIML-TUDA/i2p, or data/unsafe-prompts4703.csv of rohitgandikota/erasing"
    hub = "AIML-TUDA/i2p"
