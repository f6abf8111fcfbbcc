"""How some parts are reached from the whole: an adapter that is laid over one takes its place there.

It is asked in every call, and of the denoiser in every pass, in which a walk through all modules would be a twentieth
of a small model's time.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .every_part import every_part


class PartPaths:
    """Which module holds which under what name, on the ways from ``root`` to some of its ``parts``."""

    def __init__(self, root: nn.Module, parts: Sequence[nn.Module]) -> None:
        above: dict[nn.Module | None, tuple[nn.Module, str]] = {}
        for module in every_part([root]) if parts else ():
            for name, child in module._modules.items():
                above.setdefault(child, (module, name))
        self._held: dict[tuple[nn.Module, str], nn.Module] = {}
        for part in parts:
            while part is not root:
                module, name = above[part]
                self._held[module, name] = part
                part = module

    def lost(self) -> str:
        """The first place that leads to another module by now, in words; nothing where none does."""
        for (module, name), part in self._held.items():
            if module._modules.get(name) is not part:
                return f"{name} of a {type(module).__name__}"
        return ""
