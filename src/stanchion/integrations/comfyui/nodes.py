"""Two nodes: one guards a model in a graph, one checks pictures. Nothing of ComfyUI is imported before they run."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ... import registry
from ...concepts import BUILT_IN
from ...errors import GuardFailed
from ...guards.output.picture_check import Action, PictureCheck
from ..steering import GUARDS
from .sampling import guard_sampling

CATEGORY = "stanchion"


class GuardModel:
    """Keeps a concept out of what is sampled with this model.

    The concept arrives as CONDITIONING: its words through the CLIP Text Encode of the same checkpoint.
    """

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "guard"
    CATEGORY = CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """As ComfyUI asks for it."""
        return {
            "required": {
                "model": ("MODEL",),
                "concept": ("CONDITIONING",),
                "guard": (list(GUARDS), {"default": "sld"}),
            }
        }

    def guard(self, model: Any, concept: Any, guard: str) -> tuple[Any]:
        """A copy of the model whose guidance is steered; the model itself stays as it is.

        Raises:
            GuardFailed: another node has put its own guidance on the model, which would be lost.
        """
        return (guard_sampling(model, concept, guard),)


class CheckImages:
    """A judge looks at every picture. What it finds is withheld; what it can't read ends the graph with an error."""

    RETURN_TYPES = ("IMAGE", "BOOLEAN")
    RETURN_NAMES: ClassVar = ("images", "unsafe")
    FUNCTION = "check"
    CATEGORY = CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """As ComfyUI asks for it."""
        return {
            "required": {
                "images": ("IMAGE",),
                "concept": ("STRING", {"default": next(iter(BUILT_IN))}),
                "judge": (registry.names("judges"), {"default": "reference"}),
                "action": (list(get_args(Action)), {"default": "withhold"}),
            }
        }

    def check(self, images: Tensor, concept: str, judge: str, action: str) -> tuple[Tensor, bool]:
        """The pictures (B, H, W, 3) in [0, 1], and whether any of them shows the concept.

        Pictures in which nothing was found are the very numbers that came in.

        Raises:
            GuardFailed: the judge could not tell of one.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or not images.isfinite().all():
            raise GuardFailed(f"IMAGE is {tuple(images.shape)} and finite or not; (B, H, W, 3) in [0, 1] is checked.")
        guard = PictureCheck(concept, judge=judge, action=action)
        pictures = [Image.fromarray(np.uint8(one.clamp(0, 1).mul(255).round().cpu().numpy())) for one in images]
        checked = guard.check(pictures, None)
        shown = [
            one if after is before else torch.from_numpy(np.asarray(after) / 255.0).to(one)
            for one, before, after in zip(images, pictures, checked.pictures, strict=True)
        ]
        return torch.stack(shown), bool(checked.acted.any())


NODE_CLASS_MAPPINGS = {"StanchionGuardModel": GuardModel, "StanchionCheckImages": CheckImages}
NODE_DISPLAY_NAME_MAPPINGS = {
    "StanchionGuardModel": "Guard a model (Stanchion)",
    "StanchionCheckImages": "Check images (Stanchion)",
}
