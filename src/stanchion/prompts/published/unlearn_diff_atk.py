"""Published: the prompts of UnlearnDiffAtk: parts of I2P, four objects, Van Gogh. MIT."""

from __future__ import annotations

from .base import PublishedPrompts


class UnlearnDiffAtkPrompts(PublishedPrompts):
    """Inputs of the attack, not its results (arXiv 2310.11868); a file for each concept.

    nudity 142, violence 756, illegal 727 rows with I2P's columns; church, garbage_truck, parachute, tench and vangogh
    50 rows each: case_number, prompt, evaluation_seed, evaluation_guidance.
    """

    name = "unlearn_diff_atk"
    role = "unsafe"
    source = "the folder prompts/ of https://github.com/OPTML-Group/Diffusion-MU-Attack"
