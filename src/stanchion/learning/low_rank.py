"""Low-rank updates (LoRA, arXiv 2106.09685) of linear layers, by peft: the only place that imports it.

peft is in the extra `train` and not in the core: where it is installed, diffusers' pipelines take a second more to
import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..errors import ConfigError


class LowRank:
    """W x of each layer becomes W x + B A x, of which only A (rank, in) and B (out, rank) are trained.

    A is Gaussian of deviation 1 / rank and B zero, as is usual for diffusion models; alpha equals the rank.

    Args:
        module: is changed in place, until ``remove`` or ``merge``.
        layers: paths of linear layers in it.
        generator: what each A is drawn from, in their order.

    Raises:
        ConfigError: peft is not installed.

    Attributes:
        layers: the paths.
    """

    def __init__(self, module: nn.Module, layers: Sequence[str], rank: int, generator: torch.Generator) -> None:
        try:
            from peft import LoraConfig, LoraModel
        except ImportError as error:
            raise ConfigError("low-rank updates need peft: pip install 'stanchion[train]'.") from error
        self._trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        exactly = "|".join(map(re.escape, layers))
        with torch.random.fork_rng(devices=()):  # peft draws from torch's own generator, before we do from ours
            self._model = LoraModel(module, LoraConfig(r=rank, lora_alpha=rank, target_modules=exactly), "default")
        self.layers, self._tensors = tuple(layers), dict[str, nn.Parameter]()
        for path in layers:
            layer = module.get_submodule(path)
            down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            down.data.copy_(torch.randn(down.shape, generator=generator).div_(rank))
            self._tensors |= {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": up}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """A and B of each layer, in the layers' order."""
        return list(self._tensors.values())

    def tensors(self, component: str) -> dict[str, Tensor]:
        """As ``load_lora_weights`` of diffusers reads them, for a pipeline whose ``component`` the module is."""
        return {f"{component}.{name}": value.detach() for name, value in self._tensors.items()}

    def merge(self) -> None:
        """Turn the updates into plain weights; the module computes what it did before."""
        self._model.merge_and_unload()

    def remove(self) -> None:
        """Leave the module as it was."""
        self._model.unload()
        for parameter in self._trained:
            parameter.requires_grad_(True)


@contextmanager
def adapted(
    module: nn.Module, layers: Sequence[str], rank: int, generator: torch.Generator
) -> Iterator[list[nn.Parameter]]:
    """What is to be trained of a module's ``LowRank`` updates, which are gone when this ends."""
    updates = LowRank(module, layers, rank, generator)
    try:
        yield updates.parameters
    finally:
        updates.remove()
