"""Families of pipelines: one file each, and its name is its registration. What no file knows is refused, not guessed.

A new family is a file here, or a class of another package under the entry point ``stanchion.families``; see
``base.Family`` for what it says.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import diffusers

from ... import registry
from ...errors import UnsupportedPipeline
from .base import Family

__all__ = ["Family", "families", "family_of"]


@cache
def families() -> tuple[Family, ...]:
    """Every family that the registry finds."""
    return tuple(registry.get("families", name)() for name in registry.names("families"))


def family_of(pipe: Any) -> Family:
    """The family of a pipeline.

    Raises:
        UnsupportedPipeline: no family knows its class, or its denoiser takes conditions that none knows.
    """
    kind = type(pipe).__base__ if "_stanchion" in vars(type(pipe)) else type(pipe)
    for family in families():
        if any(kind is getattr(diffusers, name, None) for name in family.classes):
            for denoiser in family.denoisers_of(pipe):
                _check_whole(denoiser)
                family.check_denoiser(denoiser)
            return family
    known = ", ".join(name for family in families() for name in family.classes)
    raise UnsupportedPipeline(
        f"{type(pipe).__name__} can't be guarded: no seam knows how it draws. Supported are {known} (these classes "
        "themselves, not subclasses). To add a family, write a file like those in stanchion/pipeline/families."
    )


def _check_whole(denoiser: Any) -> None:
    if hasattr(denoiser, "_orig_mod") or getattr(denoiser, "_compiled_call_impl", None) is not None:
        raise UnsupportedPipeline(
            "the denoiser was compiled as a whole before the guard came, so the guard would not be compiled in. "
            "Attach first, then pipe.unet.compile(), or use pipe.unet.compile_repeated_blocks() at any time."
        )
