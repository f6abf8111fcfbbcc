"""Which modules are made of which: with the same tensors another arrangement computes something else."""

from __future__ import annotations

from torch import nn

from .every_part import every_part


class Structure:
    """A module's parts and the names under which they hold each other, as they were when this was made.

    Args:
        module: the whole.
        exact: whether nothing may come beside them, as fused copies do in a denoiser.
    """

    def __init__(self, module: nn.Module, *, exact: bool) -> None:
        self._held = [(part, dict(part._modules)) for part in every_part([module])]
        self._exact = exact

    def changed(self) -> str:
        """What is held otherwise by now, in words; nothing where all is as it was."""
        for part, held in self._held:
            now = part._modules
            if now == held or (not self._exact and held.items() <= now.items()):
                continue
            names = (name for name in {**held, **now} if held.get(name) is not now.get(name))
            return f"{next(names)} of a {type(part).__name__} is another module"
        return ""
