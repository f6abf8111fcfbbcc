"""A batch drawn, each picture from its own seed, and what came of it: pictures, or for each one why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from PIL import Image

from ..errors import GuardBypassed, GuardFailed, StanchionError, UnsupportedPipeline
from ..types import Drawn
from .attach.reports import Report
from .families import family_of

REFUSALS = (GuardFailed, GuardBypassed, UnsupportedPipeline)  # no picture, and no reason to end a run
FLAGS = ("nsfw_content_detected", "nsfw_detected")  # what pipelines call the findings of their own checkers

T = TypeVar("T")


def each_alone(draw: Callable[[Sequence[T]], list[Drawn]], sent: Sequence[T]) -> list[Drawn]:
    """One batch; where it is refused each picture by itself, so that one that fails costs no other."""
    try:
        return draw(sent)
    except REFUSALS as error:
        if len(sent) == 1:
            return [refused(error)]
        return [each_alone(draw, [one])[0] for one in sent]


def refused(error: StanchionError) -> Drawn:
    """No picture, and the error's class and text."""
    return Drawn(None, {}, 0.0, f"{type(error).__name__}: {error}")


def seeded(pipe: Any, seeds: Sequence[int], *, steps: int, guidance_scale: float) -> dict[str, Any]:
    """A pipeline's arguments for a batch, one seed a picture, guided as its family is.

    Noise is drawn on the CPU, so that a seed means the same picture's start on every device.
    """
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    guidance = family_of(pipe).arguments(pipe, guidance_scale, len(seeds))
    return {"num_inference_steps": steps, **guidance, "generator": generators}


def generate(pipe: Any, seeds: Sequence[int], *, steps: int, guidance_scale: float, **more: Any) -> tuple[Any, Any]:
    """A pipeline's output for a batch, and the ``Report`` of what its guards did in that very call; None without any.

    Args:
        more: arguments of the pipeline's, as ``prompt``; a list stays as it is (Z-Image writes into that of prompts).
    """
    own = {name: list(value) if isinstance(value, list) else value for name, value in more.items()}
    arguments = {**seeded(pipe, seeds, steps=steps, guidance_scale=guidance_scale), **own}
    attached = getattr(type(pipe), "_stanchion", None)
    return attached.call(**arguments) if attached else (pipe(**arguments), None)


def acted_by(report: Report | None, count: int) -> list[dict[str, int]]:
    """For each of ``count`` pictures and each guard, in how many steps the guard did something."""
    return [{} if report is None else report.of_picture(place) for place in range(count)]


def outcome(output: Any, acted: Sequence[Mapping[str, int]], **about: Any) -> list[Drawn]:
    """What a pipeline gave for each prompt; ``about`` is the same for all of them.

    A picture counts as drawn where something was drawn: not where the pipeline's own checker withheld it, and not
    where it is all of one colour although no guard did anything.
    """
    images = output.images
    if len(images) != len(acted):
        raise UnsupportedPipeline(f"the pipeline gave {len(images)} pictures for {len(acted)} prompts.")
    drawn = []
    for image, done, flagged in zip(images, acted, _flags(output, len(images)), strict=True):
        why = _withheld(image, flagged, any(done.values()))
        drawn.append(Drawn(None if why else image, done, error=why, withheld=bool(why), **about))
    return drawn


def _withheld(image: Image.Image | None, flagged: bool, guarded: bool) -> str:
    """Why there is nothing to look at; empty where there is a picture."""
    if flagged:
        return "the model's own safety checker withheld it"
    if image is None:
        return "the pipeline gave no picture"
    if not guarded and image.convert("RGB").getcolors(1):
        return "the pipeline gave one colour without a picture"
    return ""


def _flags(output: Any, count: int) -> list[bool]:
    found = [getattr(output, name, None) for name in FLAGS]
    return [any(bool(flags[place]) for flags in found if flags is not None) for place in range(count)]
