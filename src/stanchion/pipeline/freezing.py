"""Weights without gradients while something beside them learns or is searched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from .proof.every_part import every_part


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for the module's weights; afterwards for those that had them."""
    held = (parameter for part in every_part([module]) for parameter in part._parameters.values())
    thawed = [parameter for parameter in held if parameter is not None and parameter.requires_grad]
    for parameter in thawed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in thawed:
            parameter.requires_grad_(True)
