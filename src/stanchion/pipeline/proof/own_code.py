"""Whether modules still compute with their own code: ``pipe.unet.forward = other.forward`` leaves every hook in place.

What stood there when the guard came is part of what it guards. Hooks of accelerate and of diffusers (offload, caches)
put themselves round ``forward`` and come and go; what lies under them counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from types import FunctionType
from typing import Any

from torch import nn

from ...errors import GuardBypassed

_HOOKS = ("accelerate.hooks", "diffusers.hooks.hooks")


class OwnCode:
    """The methods of a pipeline's modules, as they were when this was made."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = modules
        self._known = {key: under for key, _, under in self._foreign()}

    def check(self) -> None:
        """Raise where a method was replaced since.

        Raises:
            GuardBypassed: with the method's path.
        """
        for key, path, under in self._foreign():
            if self._known.get(key) is not under:
                raise GuardBypassed(
                    f"pipe.{path} was replaced since the guard was attached, so other code than the guarded would "
                    "run: put it back, or detach and attach again."
                )

    def _foreign(self) -> list[tuple[tuple[int, str], str, Any]]:
        """(key, path, function) of each method that is not its class's own."""
        found = []
        for root, module in self._modules.items():
            for path, part in module.named_modules(prefix=root):
                for name in vars(part).keys() & _methods(part.__class__):
                    under = _under_hooks(part, name)
                    if under is not getattr(type(part), name):
                        found.append(((id(part), name), f"{path}.{name}", under))
        return found


@cache
def _methods(kind: type) -> frozenset[str]:
    """What a module computes with; how it is moved and cast is no one's concern here."""
    names = (name for name in dir(kind) if isinstance(getattr(kind, name), FunctionType))
    return frozenset(name for name in names if name == "forward" or not hasattr(nn.Module, name))


def _under_hooks(module: nn.Module, name: str) -> Any:
    """The function that runs in the end when the module's method is called."""
    method = vars(module)[name]
    while isinstance(method, partial) and method.func.__module__ in _HOOKS and method.args[:1] == (module,):
        method = vars(method).get("__wrapped__")
    return method.__func__ if getattr(method, "__self__", None) is module else method
