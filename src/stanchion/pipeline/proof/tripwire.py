"""Raises wherever a guarded module runs outside the seam that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn

from ...errors import GuardBypassed

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
    """Native hooks on a module: accelerate's ``remove_all_hooks`` does not reach them, a copied module keeps them.

    Who builds another model out of the module's weights (``UNetMotionModel.from_unet2d``, ControlNet-XS) leaves the
    hooks behind. diffusers copies part by part, so the parts' ``state_dict`` raises too; that of the whole, which
    ``save_pretrained`` writes, does not.
    """

    def __init__(self, module: nn.Module, what: str) -> None:
        self.module = module
        alive = [True]  # a compiled graph may keep calling the hook after its removal, and copies do

        @torch.compiler.disable
        def check(running: nn.Module, args: Any) -> None:
            if alive and not any(running is module for module in _OPEN.get()):
                raise GuardBypassed(
                    f"the guarded {what} was run outside a guarded call, so no guard saw it. Call the pipeline that "
                    "the guard is attached to, attach a guard to this one too, or detach first."
                )

        def check_copy(part: nn.Module, prefix: str, keep_vars: bool) -> None:
            if alive and not prefix:  # with one, it is asked for as a part of the whole
                raise GuardBypassed(
                    f"weights of a part of the guarded {what} were asked for, to build another model that no guard "
                    "would know (AnimateDiff, ControlNet-XS and ControlNetModel.from_unet do): detach first."
                )

        self._alive = alive
        self._handle = module.register_forward_pre_hook(check, prepend=True)
        parts = [part for part in module.modules() if part is not module]
        self._handles = [self._handle, *(part.register_state_dict_pre_hook(check_copy) for part in parts)]

    @property
    def in_place(self) -> bool:
        """Whether the hook is still on the module."""
        return self._handle.id in self.module._forward_pre_hooks

    def remove(self) -> None:
        """Take the hooks off; what still calls them finds them harmless."""
        self._alive.clear()
        for handle in self._handles:
            handle.remove()
