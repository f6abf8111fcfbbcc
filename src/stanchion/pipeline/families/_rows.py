"""Rows of the denoiser's inputs: one a picture, of tensors, of lists of them, or of nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def pick(tensor: Tensor, rows: Tensor | None) -> Tensor:
    """The rows of some pictures; a single row belongs to all of them."""
    return tensor if rows is None or len(tensor) == 1 else tensor[rows]


def plain(tensor: Tensor) -> Tensor:
    """Autograd does not take tensors that were made under ``inference_mode``."""
    return tensor.clone() if tensor.is_inference() else tensor


def beside(sample: Tensor, was: Tensor) -> Tensor:
    """``sample`` with what the pipeline puts beside it: channels (inpainting) or tokens (editing)."""
    for dim in range(1, sample.ndim):
        if (more := was.shape[dim] - sample.shape[dim]) > 0:
            return torch.cat([sample, plain(was.narrow(dim, sample.shape[dim], more)).to(sample.dtype)], dim)
    return sample.to(was.dtype)


def each(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """What becomes of a tensor, of each of several (a ControlNet's residuals), or of nothing."""
    if value is None:
        return None
    return [change(one) for one in value] if isinstance(value, list | tuple) else change(value)


def together(values: Sequence[Any]) -> Any:
    """One input's values for several conditions, one behind the other."""
    if values[0] is None:
        return None
    if isinstance(values[0], list):
        return [torch.cat(ones) for ones in zip(*values, strict=True)]
    return torch.cat(values)
