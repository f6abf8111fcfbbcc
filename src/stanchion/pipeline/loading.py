"""Pipelines from a folder, from the hub, or the packaged reference model; safetensors only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DiffusionPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from ..errors import ConfigError, UnknownName, UnsupportedPipeline
from .families import family_of

REFERENCE = Path(__file__).parent.parent / "reference" / "weights" / "pipeline"


def load_pipeline(
    source: str | Path = "reference",
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> Any:
    """A pipeline that guards can be attached to.

    Args:
        source: "reference", a folder as ``save_pretrained`` writes it, or a hub id.
        dtype: None for the type that the weights are stored in on a GPU or CPU alike, float32.
        device: None for the GPU where there is one, else the CPU.

    Raises:
        UnknownName: no such folder, and nothing on the hub that can be reached and read.
        ConfigError: the packaged reference model is missing.
        UnsupportedPipeline: no seam knows this kind of pipeline.
    """
    folder = REFERENCE if str(source) == "reference" else source
    if folder is REFERENCE and not (REFERENCE / "model_index.json").is_file():
        raise ConfigError(
            f"the reference model is not in this installation ({REFERENCE} is missing); reinstall stanchion."
        )
    try:
        pipe = DiffusionPipeline.from_pretrained(
            folder, dtype=dtype or torch.float32, use_safetensors=True, **_checker(folder)
        )
    except (OSError, ValueError) as error:
        raise UnknownName(
            f"can't load a pipeline from {str(source)!r}: {error} Give 'reference', a folder that save_pretrained "
            "wrote with safetensors in it, or a hub id."
        ) from error
    family_of(pipe)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def check_steps(pipe: Any, steps: int) -> None:
    """Raise for more steps than the scheduler has timesteps: it would count past its own end.

    Raises:
        ConfigError: there are more.
    """
    known = pipe.scheduler.config.get("num_train_timesteps", steps)
    if steps > known:
        raise ConfigError(f"steps: {steps}, but {type(pipe.scheduler).__name__} knows {known} timesteps.")


def image_to_image(pipe: Any) -> Any:
    """The image-to-image pipeline of a text-to-image one: another object on the same modules and scheduler.

    Raises:
        UnsupportedPipeline: there is none for this kind of pipeline.
    """
    return _sibling(pipe, StableDiffusionImg2ImgPipeline, "image to image")


def inpainting(pipe: Any) -> Any:
    """The inpainting pipeline of a text-to-image one: another object on the same modules and scheduler.

    Raises:
        UnsupportedPipeline: there is none for this kind of pipeline.
    """
    return _sibling(pipe, StableDiffusionInpaintPipeline, "inpainting")


def _sibling(pipe: Any, kind: Any, what: str) -> Any:
    if type(pipe) is not StableDiffusionPipeline:
        raise UnsupportedPipeline(
            f"{type(pipe).__name__}: {what} is made from an unguarded StableDiffusionPipeline only."
        )
    checked = pipe.config.get("requires_safety_checker", True)
    sibling = kind(**pipe.components, requires_safety_checker=checked)
    sibling.set_progress_bar_config(**getattr(pipe, "_progress_bar_config", {}))
    return sibling


def without_progress_bars() -> None:
    """Switch off the bars with which diffusers and transformers count files, for the whole process: for programs."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def without_texts_in_logs() -> None:
    """Have diffusers say errors only, for the whole process: it warns of long prompts by repeating them."""
    diffusers_logging.set_verbosity_error()


def _checker(folder: str | Path) -> dict[str, Any]:
    """Where a model comes without a safety checker, it is not asked for one; where it has one, it keeps it."""
    values = DiffusionPipeline.load_config(folder)
    without = values.get("safety_checker", [None, None])[0] is None
    return {"requires_safety_checker": False} if without and "safety_checker" in values else {}
