"""Takes what another tool trained: safetensors under diffusers' names, whole modules or the layers that changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from torch import Tensor, nn

from ...config import Filled, checked
from ...errors import ConfigError
from ...files.tensors import read_tensors, sha256_of
from ...guards.base import Guard
from ...guards.weights.weights_file import WeightsFile
from ...pipeline.model.base_weights import base_of
from ...pipeline.model.workbench import Workbench
from ..recipe import Recipe, Run


@checked
@dataclass(frozen=True)
class WeightsFileReading:
    """Where the weights are.

    Attributes:
        file: a ``.safetensors`` file, or a pipeline's folder as ``save_pretrained`` writes it.
        module: which of the pipeline's modules they are of; empty for its denoiser.
    """

    file: Annotated[str, Filled()]
    module: str = ""


class WeightsFileRecipe(Recipe):
    """Trains nothing: keeps what differs from the model at hand, with the hash of the file it came from.

    Two weights differ where they do in float16, for files are often stored in it.
    """

    name = "weights_file"
    Settings = WeightsFileReading
    settings: WeightsFileReading
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}, "tiny": {}}

    def train(self, bench: Workbench, run: Run) -> Guard:
        """The guard.

        Raises:
            ConfigError: no such file or module, another format, names or shapes that are not the module's, or nothing
                that differs.
        """
        module: str = self.settings.module or bench.family.denoisers[0]
        stock = getattr(bench.pipe, module, None)
        if not isinstance(stock, nn.Module):
            raise ConfigError(f"weights_file: the pipeline has no module {module!r}.")
        before = {f"{module}.{path}": parameter for path, parameter in stock.named_parameters()}
        files = _files(Path(self.settings.file), module)
        found = {_key(name, module): value for file in files for name, value in read_tensors(file).items()}
        changed = _changed(found, before, self.settings.file)
        return WeightsFile(
            self.concept,
            tensors=changed,
            base={"weights": base_of({key: before[key] for key in changed})},
            training={"files": {file.name: sha256_of(file) for file in files}, "layers": len(changed)},
        )


def _files(path: Path, module: str) -> list[Path]:
    """The files that hold the module's weights."""
    if path.is_dir():
        if found := sorted((path / module).glob("*.safetensors")):
            return found
        raise ConfigError(f"weights_file: {path / module} holds no safetensors.")
    if path.suffix != ".safetensors":
        raise ConfigError(
            f"weights_file: {path} is no .safetensors file. Pickled weights (.pt, .bin) can run code, and are not "
            "read: load them where you trust them, and save them with safetensors.torch.save_file."
        )
    return [path]


def _key(name: str, module: str) -> str:
    """As guards name weights; some tools leave the module's name out."""
    return name if name.startswith(f"{module}.") else f"{module}.{name}"


def _changed(found: Mapping[str, Tensor], before: Mapping[str, Tensor], file: str) -> dict[str, Tensor]:
    for key, value in found.items():
        if key not in before:
            raise ConfigError(
                f"weights_file: {file} holds {key}, which the model has not; names are those of diffusers' modules "
                "(down_blocks.…), not of other checkpoints (input_blocks.…)."
            )
        if value.shape != before[key].shape:
            raise ConfigError(
                f"weights_file: {file}: {key} is {tuple(value.shape)}, and the model's is {tuple(before[key].shape)}; "
                "it was made for another model."
            )
    changed = {key: value for key, value in found.items() if _differs(value, before[key])}
    if not changed:
        raise ConfigError(f"weights_file: {file} holds nothing that differs from the model.")
    return changed


def _differs(value: Tensor, stock: Tensor) -> bool:
    return bool((value.half() != stock.detach().cpu().half()).any())
