"""The weights that a guard belongs to, by their hashes: a guard of another model would guard against nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import ArtefactError
from .replaced import original_of


def weights_hash(tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float16) -> str:
    """SHA-256 over names, shapes and values in ``dtype``, which a float32 model and its half agree upon."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().to("cpu", dtype).contiguous()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def base_of(tensors: Mapping[str, Tensor]) -> str:
    """What an artefact keeps of the weights that it belongs to: their hashes in float16 and in bfloat16."""
    return " ".join(weights_hash(tensors, dtype) for dtype in (torch.float16, torch.bfloat16))


def belongs(tensors: Mapping[str, Tensor], base: str) -> bool:
    """Whether these are the weights of which ``base_of`` was kept, in float32, float16 or bfloat16."""
    half, _, brain = base.partition(" ")
    if any(tensor.dtype is torch.bfloat16 for tensor in tensors.values()):
        return weights_hash(tensors, torch.bfloat16) == brain
    return weights_hash(tensors) == half


def check_bases(pipe: Any, guards: tuple[Any, ...], named: Callable[[str], str]) -> None:
    """Refuse a guard whose tensors were trained on another module than the pipeline's.

    ``named`` gives the attribute that holds what a guard calls its text encoder or its denoiser.

    Raises:
        ArtefactError: a hash differs; or the tensors hold NaN or infinity.
    """
    known: dict[tuple[str, str], bool] = {}
    for guard in guards:
        guard.check_base()
        guard.check_finite()
        for name, base in guard.base.items():
            if name == "weights":
                continue
            if getattr(pipe, named(name), None) is None:
                raise ArtefactError(f"guard {guard.name!r} was trained on a {name}, which this pipeline does not have.")
            if (name, base) not in known:
                stored = {path: original_of(p) for path, p in getattr(pipe, named(name)).named_parameters()}
                known[name, base] = belongs(stored, base)
            if not known[name, base]:
                raise ArtefactError(
                    f"guard {guard.name!r} was trained on another {name} than this pipeline's (hash differs): "
                    "attach it to the model that it was trained for, or train it for this one."
                )
