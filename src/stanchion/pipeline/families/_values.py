"""What a family says of its pipelines' calls: passes of the denoiser, places in it, text states; and rows of these.

A denoiser's inputs have one row a picture, whether they are tensors, lists of them, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor


@dataclass
class Pass:
    """One call of the denoiser.

    Attributes:
        inputs: by parameter name.
        rows: the prompt's, once it is known which.
        placed: names of the inputs that the pipeline gave by their place, as hooks on the denoiser expect them.
        pictures: which pictures a condition's rows are, in their order; None for all of them.
    """

    inputs: dict[str, Any]
    rows: slice = field(default_factory=lambda: slice(None))
    placed: tuple[str, ...] = ()
    pictures: Tensor | None = None


class Place(NamedTuple):
    """Where text tokens are projected.

    Attributes:
        layer, which: what guards call it: a path in the denoiser, and "q", "k" or "v".
        module: the projection.
        rows: which of its input's tokens are text: "all", "first" (before the picture's) or "last".
        columns: its output's columns, where it makes more than this one; None for all.
        once: whether it reads the text alone, so that it gives the same in every step.
    """

    layer: str
    which: str
    module: Any
    rows: str = "all"
    columns: tuple[int, int] | None = None
    once: bool = True

    @property
    def weight(self) -> Tensor:
        """(C, D) of the projection's own columns."""
        weight: Tensor = self.module.weight[slice(*(self.columns or (None,)))]
        return weight

    @property
    def bias(self) -> Tensor | None:
        """(C,) of them, where the layer has one."""
        bias = self.module.bias
        return None if bias is None else bias[slice(*(self.columns or (None,)))]


class Said(NamedTuple):
    """Text states among the outputs of ``encode_prompt``: in which role, at which place, of which texts.

    ``pooled`` is the place of the vector that says the same prompt beside them.
    """

    role: str
    place: int
    texts: Any
    pooled: int | None = None


class Stream(NamedTuple):
    """Token ids (B, L) and content mask (B, L) of the part ``[start, start + L)`` of the text states."""

    start: int
    ids: Tensor
    content: Tensor
    tokenizer: Any


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


def unpatched(latents: Tensor, rows: int, columns: int) -> Tensor:
    """(B, C, 2 rows, 2 columns) of FLUX's patches of 2 x 2, (B, rows * columns, 4 C)."""
    patches = latents.unflatten(1, (rows, columns)).unflatten(3, (-1, 2, 2))
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
