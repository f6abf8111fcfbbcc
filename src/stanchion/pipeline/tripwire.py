"""Raises wherever a guarded module runs outside the seam that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn

from ..errors import GuardBypassed

_OPEN: ContextVar[tuple[nn.Module, ...]] = ContextVar("stanchion_open", default=())


@contextmanager
def opened(module: nn.Module) -> Iterator[None]:
    """Let ``module`` run, in this thread and this block."""
    token = _OPEN.set((*_OPEN.get(), module))
    try:
        yield
    finally:
        _OPEN.reset(token)


class Tripwire:
    """A native forward pre-hook: accelerate's ``remove_all_hooks`` does not reach it, a copied module keeps it."""

    def __init__(self, module: nn.Module, what: str) -> None:
        self.module = module
        alive = [True]  # a compiled graph may keep calling the hook after its removal

        @torch.compiler.disable
        def check(running: nn.Module, args: Any) -> None:
            if alive and not any(running is module for module in _OPEN.get()):
                raise GuardBypassed(
                    f"the guarded {what} was run outside a guarded call, so no guard saw it. Call the pipeline that "
                    "the guard is attached to, attach a guard to this one too, or detach first."
                )

        self._alive = alive
        self._handle = module.register_forward_pre_hook(check, prepend=True)

    @property
    def in_place(self) -> bool:
        """Whether the hook is still on the module."""
        return self._handle.id in self.module._forward_pre_hooks

    def remove(self) -> None:
        """Take the hook off; what still calls it finds it harmless."""
        self._alive.clear()
        self._handle.remove()
