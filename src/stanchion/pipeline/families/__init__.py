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
from ._needs import WISHES
from .base import Family

__all__ = ["WISHES", "Family", "families", "family_of", "kind_of"]

FREE = {  # what a pipeline draws with, checks and moves by: the seams see its results, or do not need it
    "__init__",
    "__doc__",
    "__module__",
    "__qualname__",
    "__annotations__",
    "__static_attributes__",
    "__firstlineno__",
    "check_inputs",
    "prepare_latents",
    "run_safety_checker",
    "progress_bar",
    "model_cpu_offload_seq",
    "_optional_components",
    "_exclude_from_cpu_offload",
    "_callback_tensor_inputs",
}


@cache
def families() -> tuple[Family, ...]:
    """Every family that the registry finds."""
    return tuple(registry.get("families", name)() for name in registry.names("families"))


def family_of(pipe: Any) -> Family:
    """The family of a pipeline.

    Raises:
        UnsupportedPipeline: no family knows its class; it is a subclass that overrides what guards rely on; or its
            denoiser takes conditions that none knows.
    """
    family = _known(pipe)[0].of(pipe)
    family.check_parts(pipe)
    for name in family.denoisers:
        if (denoiser := vars(pipe).get(name)) is not None:
            _check_whole(denoiser, name)
            family.check_denoiser(denoiser)
    return family


def kind_of(pipe: Any) -> str:
    """The name of the known class that a pipeline is of. Raises as ``family_of`` does."""
    return _known(pipe)[1]


def _known(pipe: Any) -> tuple[Family, str]:
    kind: Any = type(pipe)
    kind = kind.__base__ if "_stanchion" in vars(kind) else kind
    by_name = {name: family for family in families() for name in family.classes}
    bases: tuple[type, ...] = kind.__mro__
    for base in bases:
        name = base.__name__
        if name in by_name and base is getattr(diffusers, name, None):  # imports this class's module and no other's
            _check_subclass(kind, base)
            return by_name[name], name
    known = ", ".join(by_name)
    raise UnsupportedPipeline(
        f"{kind.__name__} can't be guarded: no seam knows how it draws. Supported are {known}, and subclasses that "
        "override nothing that guards rely on. To add a family, write a file like those in "
        "stanchion/pipeline/families (docs/families.md says how), or an entry point 'stanchion.families'."
    )


def _check_whole(denoiser: Any, name: str) -> None:
    if hasattr(denoiser, "_orig_mod") or getattr(denoiser, "_compiled_call_impl", None) is not None:
        raise UnsupportedPipeline(
            "the denoiser was compiled as a whole before the guard came, so the guard would not be compiled in. "
            f"Attach first, then pipe.{name}.compile(), or use pipe.{name}.compile_repeated_blocks() at any time."
        )


def _check_subclass(kind: type, known: type) -> None:
    """Refuse a subclass that overrides anything of the known class on which a guard may rely.

    Raises:
        UnsupportedPipeline: with the name of the method.
    """
    own = [one for one in kind.__mro__[: kind.__mro__.index(known)] if one not in known.__mro__]
    for one in own:
        for name in vars(one):
            if name not in FREE and hasattr(known, name):
                raise UnsupportedPipeline(
                    f"{kind.__name__} overrides {name} of {known.__name__} (in {one.__name__}), on which guards rely: "
                    f"leave {name} as it is, or guard a {known.__name__} with the same components."
                )
