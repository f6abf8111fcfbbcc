"""What ForceForget trains: LoRA on q, k and v wherever text is projected, and the Safe Adapter on k and v."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ....errors import ConfigError
from ....guards.attention.forceforget import BIAS
from ....pipeline.families.base import Place


class SafeAdapter(nn.Module):
    """Trainable tensors under the names that the guard ``forceforget`` reads; at first they change nothing.

    Args:
        places: where text is projected, q, k and v of each layer in turn.
        lora_rank: r of the low-rank updates; 0 for none.
        lora: which projections are updated.
        adapter: whether k and v get an adapter; it begins as a copy of the stock weights and their bias.
        adapter_rank: r for an adapter that is added to the stock weights instead, None for a full one.
        seed: of the low-rank updates' first halves; the second are zero.
    """

    def __init__(
        self,
        places: Sequence[Place],
        *,
        lora_rank: int = 4,
        lora: tuple[str, ...] = ("q", "k", "v"),
        adapter: bool = True,
        adapter_rank: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self._names: list[str] = []
        self._values = nn.ParameterList()
        for place in places:
            where, weight = f"{place.layer}.to_{place.which}", place.weight
            if lora_rank and place.which in lora:
                self._add_low_rank(f"{where}.lora", weight, lora_rank, random)
            if adapter and place.which != "q" and adapter_rank:
                self._add_low_rank(f"{where}.adapter", weight, adapter_rank, random)
            elif adapter and place.which != "q":
                self._add(f"{where}.adapter", weight.detach().float().clone())
                if place.bias is not None:
                    self._add(f"{where}.{BIAS}", place.bias.detach().float().clone())

    def _add_low_rank(self, name: str, weight: Tensor, rank: int, random: torch.Generator) -> None:
        out, into = weight.shape
        self._add(f"{name}_down", (torch.randn(rank, into, generator=random) / rank).to(weight.device))
        self._add(f"{name}_up", torch.zeros(out, rank, device=weight.device))

    def _add(self, name: str, value: Tensor) -> None:
        self._names.append(name)
        self._values.append(nn.Parameter(value))

    @torch.no_grad()
    def load(self, saved: Mapping[str, Tensor], where: str) -> None:
        """Begin with a saved guard's tensors; what is not trained here is left out.

        Raises:
            ConfigError: one that is trained here is not there, or has another shape.
        """
        for name, value in self.tensors().items():
            if name not in saved or saved[name].shape != value.shape:
                held = tuple(saved[name].shape) if name in saved else "missing"
                raise ConfigError(f"{where}: {name} is {held}, and {tuple(value.shape)} is trained here.")
            value.copy_(saved[name])

    def tensors(self) -> dict[str, Tensor]:
        """The parameters themselves, by the guard's names."""
        return dict(zip(self._names, self._values, strict=True))
