"""Guards that have ``weights`` replace stored ones, before any prompt arrives; detaching puts the originals back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ArtefactError, ConfigError, GuardBypassed, UnsupportedPipeline


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


def check_bases(pipe: Any, guards: tuple[Any, ...]) -> None:
    """Refuse a guard whose tensors were trained on another module than the pipeline's.

    Raises:
        ArtefactError: a hash differs.
    """
    known: dict[tuple[str, str], bool] = {}
    for guard in guards:
        guard.check_base()
        for name, base in guard.base.items():
            if name == "weights":
                continue
            if not hasattr(pipe, name):
                raise ArtefactError(f"guard {guard.name!r} was trained on a {name}, which this pipeline does not have.")
            if (name, base) not in known:
                known[name, base] = belongs(dict(getattr(pipe, name).named_parameters()), base)
            if not known[name, base]:
                raise ArtefactError(
                    f"guard {guard.name!r} was trained on another {name} than this pipeline's (hash differs): "
                    "attach it to the model that it was trained for, or train it for this one."
                )


class WeightsSeam:
    """Puts the weights of every such guard in place, keeps the originals, and sees whether they stay.

    Keys are the pipeline's attribute and the parameter's path, as in ``unet.conv_in.weight``.
    """

    def __init__(self, pipe: Any, guards: list[Any]) -> None:
        self._originals: list[tuple[nn.Parameter, Tensor]] = []
        self._wanted: list[tuple[str, nn.Parameter, Tensor]] = []
        self._pipe = pipe
        planned = [self._plan(guard) for guard in guards]
        check_overlap(guards, planned)
        for plan in planned:
            for key, (parameter, value) in plan.items():
                self._put(key, parameter, value)

    def _plan(self, guard: Any) -> dict[str, tuple[nn.Parameter, Tensor]]:
        weights = guard.weights()
        parameters = {key: self._find(guard, key) for key in weights}
        for key, value in weights.items():
            if parameters[key].shape != value.shape:
                raise ArtefactError(
                    f"guard {guard.name!r}: {key} is {tuple(value.shape)}, but {tuple(parameters[key].shape)} in this "
                    "pipeline; the artefact belongs to another model."
                )
        if not belongs(parameters, guard.base["weights"]):
            raise ArtefactError(
                f"guard {guard.name!r} was made for other weights than this pipeline holds (hash differs). Load the "
                "base model that it was made for, without adapters."
            )
        return {key: (parameters[key], weights[key]) for key in weights}

    def _find(self, guard: Any, key: str) -> nn.Parameter:
        module, _, path = key.partition(".")
        try:
            parameter = getattr(self._pipe, module).get_parameter(path)
        except AttributeError as error:
            raise ArtefactError(f"guard {guard.name!r}: this pipeline has no weight {key!r} ({error}).") from None
        if parameter.is_meta:
            raise UnsupportedPipeline("weights are offloaded one by one; attach weight guards before offloading.")
        return parameter

    def _put(self, key: str, parameter: nn.Parameter, value: Tensor) -> None:
        value = value.to(parameter)  # once: a check at each call would convert, and on a GPU transfer, all of it
        self._originals.append((parameter, parameter.detach().clone()))
        self._wanted.append((key, parameter, value))
        with torch.no_grad():
            parameter.copy_(value)

    def check(self) -> None:
        """Raise where the weights in place are no longer the guards', or an adapter lies over them.

        Raises:
            GuardBypassed: a weight was changed, replaced or adapted since the guard was attached.
        """
        modules = {key.partition(".")[0] for key, _, _ in self._wanted}
        present = {f"{name}.{path}": p for name in modules for path, p in getattr(self._pipe, name).named_parameters()}
        for key, parameter, value in self._wanted:
            if present.get(key) is not parameter:
                raise GuardBypassed(
                    f"{key} was replaced, or an adapter was loaded over it, since the guard was attached."
                )
            if not torch.equal(parameter, value.to(parameter)):
                raise GuardBypassed(f"{key} was changed since the guard was attached; detach and attach again.")

    def restore(self) -> None:
        """Copy the stored originals back, bit for bit."""
        with torch.no_grad():
            for parameter, original in self._originals:
                parameter.copy_(original)


def check_overlap(guards: Sequence[Any], planned: Sequence[Mapping[str, Any]]) -> None:
    """Raise where two guards replace the same weight; ``planned`` has the keys of each.

    Raises:
        ConfigError: they do.
    """
    owner: dict[str, str] = {}
    for guard, plan in zip(guards, planned, strict=True):
        if shared := sorted(set(owner) & set(plan)):
            raise ConfigError(
                f"guards {owner[shared[0]]!r} and {guard.name!r} both replace {shared[0]} "
                f"({len(shared)} weights in all); use one of them."
            )
        owner.update(dict.fromkeys(plan, guard.name))
