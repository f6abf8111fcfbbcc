"""diffusers' caches (``enable_cache``): hooks in a denoiser that give in one pass what another one computed.

They count on a pipeline's own passes, each condition once a step. A guard predicts for other conditions and pictures,
twice in a step or in none, and would be given what is not its own; so its predictions are made past every cache, which
afterwards is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.hooks import ModelHook
from diffusers.hooks.hooks import StateManager
from torch import nn

from .every_part import every_part


@contextmanager
def left_out(denoiser: nn.Module) -> Iterator[None]:
    """Passes in this block are computed as if there were no cache."""
    idle, held = ModelHook(), list[tuple[Any, dict[str, Any]]]()
    for _, hook in _hooks(denoiser):
        reference = hook.fn_ref  # what diffusers calls, and lets be changed
        held.append((reference, dict(vars(reference))))
        reference.pre_forward, reference.post_forward = idle.pre_forward, idle.post_forward
        reference.forward = reference.original_forward or reference.forward
    try:
        yield
    finally:
        for reference, known in held:
            vars(reference).update(known)


def forget(denoiser: nn.Module) -> None:
    """Drop what caches keep of a call that was broken off, an unguarded one perhaps: it is not for the next."""
    for part, hook in _hooks(denoiser):
        if hook._is_stateful:
            hook.reset_state(part)


def in_place(denoiser: nn.Module) -> bool:
    """Whether there is a cache."""
    return any(True for _ in _hooks(denoiser))


def _hooks(denoiser: nn.Module) -> Iterator[tuple[nn.Module, Any]]:
    """Those that keep something from pass to pass, or go by what another of them keeps; offload and casts do not."""
    for part in every_part([denoiser]):
        registry = vars(part).get("_diffusers_hook")
        for hook in registry.hooks.values() if registry is not None else ():
            if hook._is_stateful or any(isinstance(value, StateManager) for value in vars(hook).values()):
                yield part, hook
