"""Draws the pictures that image to image begins with."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ...reference import world
from ...types import Prompt, Start

STREAM = 1  # beside the seed: the noise of the picture is drawn from the seed alone


def start_picture(prompt: Prompt, start: Start) -> Image.Image:
    """What ``start`` says, 48×48 RGB; place, size and shades follow from the prompt's seed."""
    scene = world.Scene(start.objects, start.style or world.DEFAULT_STYLE, start.background or "white")
    return Image.fromarray(world.render(scene, np.random.default_rng([prompt.seed, STREAM])))
