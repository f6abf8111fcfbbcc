"""Output guards look at finished pictures before these are handed over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor

from ...errors import GuardFailed, UnsupportedPipeline
from ..attach.guard_record import Record


class OutputSeam:
    """Stands behind the pipeline: what it returns goes through every output guard. What none of them touched is
    handed over as it was, bit for bit.
    """

    def __init__(self, records: list[Record]) -> None:
        self.records = records

    @torch.no_grad()
    def checked(self, output: Any) -> Any:
        """What a pipeline returned, an object with ``images`` or a tuple that begins with them, after the guards.

        Raises:
            GuardFailed: a guard failed, or the pictures hold NaN or infinity.
            UnsupportedPipeline: the pictures are in a form that nobody could look at.
        """
        if not self.records:
            return output
        images = output[0] if isinstance(output, tuple) else getattr(output, "images", None)
        given: Sequence[Image.Image] = _shown(images)
        pictures = given
        for record in self.records:
            pictures = self._through(record, pictures)
        images = _put(images, [new if new is not old else None for new, old in zip(pictures, given, strict=True)])
        if isinstance(output, tuple):
            return (images, *output[1:])
        output.images = images
        return output

    def _through(self, record: Record, pictures: Sequence[Image.Image]) -> Sequence[Image.Image]:
        with record.blame():
            checked = record.guard.check(pictures, record.state)
            sizes = [picture.size for picture in checked.pictures]
        if sizes != [picture.size for picture in pictures]:
            raise GuardFailed(f"guard {record.guard.name!r} gave pictures of sizes {sizes}; no image was handed over.")
        record.check_shape("who was touched", checked.acted, torch.Size([len(pictures)]))
        record.note(checked.acted, checked.scores)
        return checked.pictures


def _shown(images: Any) -> list[Image.Image]:
    """Pictures as the pipeline itself makes them of arrays (B, H, W, 3) and tensors (B, 3, H, W) in [0, 1]."""
    if isinstance(images, list) and all(isinstance(image, Image.Image) for image in images):
        return list(images)
    if isinstance(images, Tensor) and images.ndim == 4:
        images = VaeImageProcessor.pt_to_numpy(images.float())
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        raise UnsupportedPipeline(
            f"the pipeline gave {type(images).__name__}, and an output guard looks at pictures; "
            "ask for output_type 'pil', 'np' or 'pt'."
        )
    if not np.isfinite(images).all():
        raise GuardFailed("the pictures hold NaN or infinity, so no output guard can look at them.")
    return VaeImageProcessor.numpy_to_pil(images.clip(0, 1))


def _put(images: Any, changed: Sequence[Image.Image | None]) -> Any:
    """The pipeline's pictures with those that changed in their places, in the form that the others have."""
    if isinstance(images, list):
        return [old if new is None else new for old, new in zip(images, changed, strict=True)]
    images = images.clone() if isinstance(images, Tensor) else images.copy()
    for place, picture in enumerate(changed):
        if picture is not None:
            pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
            images[place] = torch.from_numpy(pixels).movedim(-1, 0) if isinstance(images, Tensor) else pixels
    return images
