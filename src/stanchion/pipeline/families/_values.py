"""What a family says of its pipelines' calls: passes of the denoiser, places in it, and text states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

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
