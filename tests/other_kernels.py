"""A processor that rounds by shape: matrix products, convolutions and norms are off by a share that depends on the
size of what they return. ``pytest --rounding 1e-3`` runs the tests on it.

On it a row of a batch of two and the same row of a batch of three differ, as they do under some processors' kernels by
1e-6, so that a test which takes the two for the same arithmetic fails on every machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

KERNELS = """
linear matmul mm addmm bmm baddbmm mv dot conv2d convolution convolution_backward scaled_dot_product_attention
_scaled_dot_product_flash_attention_for_cpu layer_norm native_layer_norm group_norm native_group_norm softmax _softmax
""".split()


class RoundsByShape(TorchDispatchMode):
    """Kernels of this thread round by ``share`` and by shape."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.kernels = {getattr(torch.ops.aten, name) for name in KERNELS}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket not in self.kernels:
            return result
        return (self._off(result[0]), *result[1:]) if isinstance(result, tuple) else self._off(result)

    def _off(self, value: Any) -> Any:
        if value is None or value.dtype is not torch.float32 or value.device.type != "cpu":
            return value
        return value * _errors(value.numel(), self.share).view(value.shape)


@cache
def _errors(count: int, share: float) -> torch.Tensor:
    return 1 + share * (2 * torch.rand(count, generator=torch.Generator().manual_seed(count)) - 1)


def install(share: float) -> Callable[[], None]:
    """In this thread and in every one that is started; the function that is returned takes it off again."""
    patch, mode, run = pytest.MonkeyPatch(), RoundsByShape(share), threading.Thread.run

    def rounding(thread: threading.Thread) -> None:
        with RoundsByShape(share):
            run(thread)

    patch.setattr(threading.Thread, "run", rounding)
    mode.__enter__()
    return lambda: (mode.__exit__(None, None, None), patch.undo())
