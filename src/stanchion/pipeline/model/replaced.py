"""The weights that guards have replaced, by parameter: pipelines that share modules share what was replaced in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from ...errors import ConfigError
from ..proof.checksums import checksums


class Replaced:
    """One parameter: what it held before any guard, what guards want in it, and how many hold on to that."""

    def __init__(self, parameter: nn.Parameter, wanted: Tensor) -> None:
        self.original = parameter.detach().clone()
        self.wanted = wanted
        self.holders = 0
        self._mark: tuple[int, int] | None = None  # pointer, version and checksum when it was last found to be right
        self._sum: int | None = None

    def put(self, parameter: nn.Parameter) -> None:
        """Write the wanted values."""
        _write(parameter, self.wanted)

    def put_back(self, parameter: nn.Parameter) -> None:
        """Write the original values, bit for bit."""
        _write(parameter, self.original)

    def stands(self, parameter: nn.Parameter) -> bool:
        """Whether nothing says that the parameter was written to since it was last found to be right."""
        return self._mark is not None and self._mark == _mark(parameter)

    def holds(self, parameter: nn.Parameter, found: int) -> bool:
        """Whether the parameter, whose checksum is ``found``, has the wanted values, cast as it has been cast."""
        if found != self._sum:
            self._sum = found if torch.equal(parameter, self.wanted.to(parameter)) else None
        self._mark = _mark(parameter) if self._sum is not None else None
        return self._sum is not None


_REPLACED: Any = WeakIdKeyDictionary()


def original_of(parameter: nn.Parameter) -> Tensor:
    """What the parameter holds when no guard is attached."""
    one = _REPLACED.get(parameter)
    return parameter if one is None else one.original


def replace(key: str, parameter: nn.Parameter, wanted: Tensor) -> None:
    """Put values in place, or join those who did.

    Raises:
        ConfigError: a guard on another pipeline that shares the module put other values there.
    """
    one = _REPLACED.get(parameter)
    if one is None:
        one = Replaced(parameter, wanted)
        one.put(parameter)
        _REPLACED[parameter] = one
    elif not torch.equal(one.wanted.to(parameter), wanted.to(parameter)):
        raise ConfigError(
            f"{key} is replaced by a guard on another pipeline that shares the module, by other weights: attach the "
            "same guard here, or detach that one first."
        )
    one.holders += 1


def put_back(parameter: nn.Parameter, now: nn.Parameter | None = None) -> None:
    """Let go of a parameter; the last who does puts the original back, also into ``now``, which stands there."""
    one = _REPLACED[parameter]
    one.holders -= 1
    if not one.holders:
        one.put_back(parameter)
        if now is not None and now is not parameter:
            one.put_back(now)
        del _REPLACED[parameter]


def keep(parameter: nn.Parameter) -> None:
    """Let go of a parameter, whose values stay for good."""
    del _REPLACED[parameter]


def held_elsewhere(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether somebody else holds on to one of them, too."""
    return any(_REPLACED[parameter].holders > 1 for parameter in parameters)


def changed(parameters: dict[str, nn.Parameter], contents: bool) -> list[str]:
    """The keys of those that no longer hold what was put there; ``contents`` asks for every value to be read."""
    doubted = {key: p for key, p in parameters.items() if contents or not _REPLACED[p].stands(p)}
    found = checksums(list(doubted.values()))
    pairs = zip(doubted.items(), found, strict=True)
    return [key for (key, parameter), value in pairs if not _REPLACED[parameter].holds(parameter, value)]


def _mark(parameter: nn.Parameter) -> tuple[int, int] | None:
    """Where the values lie and how often they were written; writes through ``.data`` count nowhere."""
    return None if parameter.is_inference() else (parameter.data_ptr(), parameter._version)


def _write(parameter: nn.Parameter, values: Tensor) -> None:
    with torch.no_grad():
        parameter.copy_(values)
