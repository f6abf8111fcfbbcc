"""Published: prompts that MMA-Diffusion found. CC BY-NC-ND 4.0, behind a gate."""

from __future__ import annotations

from .base import PublishedPrompts


class MMADiffusionPrompts(PublishedPrompts):
    """1,000 adversarial texts (arXiv 2311.17516), ready to be replayed.

    Columns: target_prompt, adv_prompt, sanitized_adv_prompt, success_against_sanitization_defense, clean_prompt.
    """

    name = "mma_diffusion"
    role = "unsafe"
    source = "https://huggingface.co/datasets/YijunYang280/MMA-Diffusion-NSFW-adv-prompts-benchmark (gated)"
    hub = "YijunYang280/MMA-Diffusion-NSFW-adv-prompts-benchmark"
    text = ("adv_prompt",)
