"""Pipelines from a folder, from the hub, or the packaged reference model; safetensors only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from ..errors import ConfigError, UnknownName, UnsupportedPipeline
from .families import family_of

WEIGHTS = Path(__file__).parent.parent / "reference" / "weights"
REFERENCE, REFERENCE_FLUX = "reference", "reference-flux"
SIBLINGS = ("StableDiffusionPipeline", "FluxPipeline")  # whose other tasks are made from their parts
PACKAGED = {REFERENCE: WEIGHTS / "pipeline", REFERENCE_FLUX: WEIGHTS / "flux"}


def load_pipeline(
    source: str | Path = "reference",
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> Any:
    """A pipeline that guards can be attached to.

    Args:
        source: "reference", "reference-flux", a folder as ``save_pretrained`` writes it, or a hub id.
        dtype: None for the type that the weights are stored in on a GPU or CPU alike, float32.
        device: None for the GPU where there is one, else the CPU.

    Raises:
        UnknownName: no such folder, and nothing on the hub that can be reached and read.
        ConfigError: the packaged model is missing.
        UnsupportedPipeline: no seam knows this kind of pipeline.
    """
    folder = PACKAGED.get(str(source), source)
    if folder is not source and not (Path(folder) / "model_index.json").is_file():
        raise ConfigError(
            f"the model {source!r} is not in this installation ({folder} is missing); reinstall stanchion."
        )
    dtype = dtype or torch.float32
    try:
        parts = _of_reference(dtype) if str(source) == REFERENCE_FLUX else _checker(folder)
        pipe = DiffusionPipeline.from_pretrained(folder, dtype=dtype, use_safetensors=True, **parts)
    except (OSError, ValueError) as error:
        raise UnknownName(
            f"can't load a pipeline from {str(source)!r}: {error} Give 'reference', 'reference-flux', a folder that "
            "save_pretrained wrote with safetensors in it, or a hub id."
        ) from error
    family_of(pipe)
    if str(source) == REFERENCE_FLUX:
        pipe.default_sample_size = pipe.vae.config.sample_size // pipe.vae_scale_factor  # FluxPipeline asks no part
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
    return _sibling(pipe, "Img2Img", "image to image")


def inpainting(pipe: Any) -> Any:
    """The inpainting pipeline of a text-to-image one: another object on the same modules and scheduler.

    Raises:
        UnsupportedPipeline: there is none for this kind of pipeline.
    """
    return _sibling(pipe, "Inpaint", "inpainting")


def _sibling(pipe: Any, task: str, what: str) -> Any:
    name = type(pipe).__name__
    if name not in SIBLINGS or type(pipe) is not getattr(diffusers, name):
        raise UnsupportedPipeline(f"{name}: {what} is made from an unguarded {' or '.join(SIBLINGS)} only.")
    checker = "requires_safety_checker" in pipe.config
    checked = {"requires_safety_checker": pipe.config["requires_safety_checker"]} if checker else {}
    sibling = getattr(diffusers, name.replace("Pipeline", f"{task}Pipeline"))(**pipe.components, **checked)
    if hasattr(pipe, "default_sample_size"):
        sibling.default_sample_size = pipe.default_sample_size
    sibling.set_progress_bar_config(**getattr(pipe, "_progress_bar_config", {}))
    return sibling


def without_progress_bars() -> None:
    """Switch off the bars with which diffusers and transformers count files, for the whole process: for programs."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def without_texts_in_logs() -> None:
    """Have diffusers say errors only, for the whole process: it warns of long prompts by repeating them."""
    diffusers_logging.set_verbosity_error()


def _of_reference(dtype: torch.dtype) -> dict[str, Any]:
    """The parts of the reference FLUX that are the reference model's: autoencoder and text encoder."""
    pipe = DiffusionPipeline.from_pretrained(PACKAGED[REFERENCE], dtype=dtype, use_safetensors=True, unet=None)
    pipe.vae.register_to_config(shift_factor=0.0)  # FluxPipeline subtracts it; None fails
    encoder, tokenizer = pipe.text_encoder, pipe.tokenizer
    return {
        "text_encoder": encoder,
        "text_encoder_2": encoder,
        "tokenizer": tokenizer,
        "tokenizer_2": tokenizer,
        "vae": pipe.vae,
    }


def _checker(folder: str | Path) -> dict[str, Any]:
    """Where a model comes without a safety checker, it is not asked for one; where it has one, it keeps it."""
    values = DiffusionPipeline.load_config(folder)
    without = values.get("safety_checker", [None, None])[0] is None
    return {"requires_safety_checker": False} if without and "safety_checker" in values else {}
