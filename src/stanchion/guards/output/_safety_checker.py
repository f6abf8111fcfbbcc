"""A picture check in the slot that Stable Diffusion 1.x pipelines have for their safety checker."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import GuardFailed


class AsSafetyChecker:
    """Called as diffusers calls one: with pictures (B, 3, H, W) in [-1, 1], and what its own network would look at.

    What the check acted on is handed back as the check wants it, and named as not safe for work, which is the only word
    that the slot has. The pipeline says nothing else of it, and a flagged picture is handed over as it is.
    """

    def __init__(self, guard: Any) -> None:
        self.guard = guard

    def __call__(self, images: Any, clip_input: Any = None) -> tuple[Tensor, list[bool]]:
        """The pictures, those that were acted on in [0, 1] as diffusers takes them then; and which they are.

        Raises:
            GuardFailed: these are no pictures, or the judge can't tell what they show; there is no picture.
        """
        if not (isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] == 3):
            raise GuardFailed(
                f"the picture check was given {type(images).__name__}, no (B, 3, H, W) tensor of pictures."
            )
        if not images.isfinite().all():
            raise GuardFailed("the picture check was given NaN or infinity; no image was made.")
        levels = ((images.float() / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        found = self.guard.check([Image.fromarray(picture) for picture in levels], None)
        acted, shown = found.acted.tolist(), images.clone()
        for place in (place for place, bad in enumerate(acted) if bad):
            picture = torch.from_numpy(np.array(found.pictures[place])).permute(2, 0, 1) / 255
            shown[place] = picture.to(shown.device, shown.dtype)
        return shown, acted
