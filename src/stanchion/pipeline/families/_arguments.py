"""Arguments of a call, and inputs of a denoiser, that say something past the guards."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from ...errors import UnsupportedPipeline

ATTENTION = (
    "cross_attention_kwargs",
    "joint_attention_kwargs",
    "attention_kwargs",
)  # of which a LoRA's scale is let in


def check_attention(given: Mapping[str, Any]) -> None:
    """Refuse what attention is told beside the text.

    Raises:
        UnsupportedPipeline: with its name.
    """
    for name in ATTENTION:
        if others := sorted(set(given.get(name) or ()) - {"scale"}):
            raise UnsupportedPipeline(
                f"{name} holds {others[0]!r}, a condition that would go past the guards (GLIGEN's phrases come so): "
                "only scale may be given. Leave it out, or detach the guard."
            )


def check_unseen(names: Sequence[str], reader: str, arguments: Mapping[str, Any]) -> None:
    """Refuse what says something else of a prompt than the guard ``reader`` reads.

    Raises:
        UnsupportedPipeline: with the argument's name.
    """
    for name in names:
        if (given := arguments.get(name)) is not None and ("pooled" in name or _differ(name, given, arguments)):
            what = "negative_prompt" if name.startswith("negative") else "prompt"
            raise UnsupportedPipeline(
                f"{name} is given, and the guard {reader!r} reads {what} only: leave it out, or attach the guard with "
                "cover='partial', which lets it pass unread."
            )


def check_instructions(names: Sequence[str], pipe: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse what the text encoder is told with the prompt, and so with the empty prompt and the concept as well.

    Raises:
        UnsupportedPipeline: an instruction is not the pipeline's own.
    """
    usual = inspect.signature(type(pipe).__call__).parameters
    for name in names:
        if (given := arguments.get(name)) is not None and given != usual[name].default:
            raise UnsupportedPipeline(
                f"{name} is given, and would be part of the concept and of the empty prompt, too, with which the "
                "guard compares: leave it out, or detach the guard."
            )


def _differ(name: str, given: Any, arguments: Mapping[str, Any]) -> bool:
    first = arguments.get(name.rpartition("_")[0])
    texts = [[one] if isinstance(one, str) else list(one or ()) for one in (given, first)]
    return bool(texts[0] != texts[1])


@cache
def parameters_of(forward: Callable[..., Any]) -> tuple[str, ...]:
    """Their names, of a denoiser's class, for every pass: Python's ``bind`` takes longer than all else here."""
    return tuple(inspect.signature(forward).parameters)
