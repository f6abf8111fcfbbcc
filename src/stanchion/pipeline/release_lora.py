"""Guards that change linear layers of the denoiser, as a LoRA that stock diffusers loads (``load_lora_weights``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.functional import pad

from ..errors import ConfigError
from ..files.tensors import save_tensors
from .families import family_of
from .model.base_weights import check_bases
from .release import card_head, check_merged, check_new
from .seams.weights import WeightsSeam

Dialect = Literal["diffusers", "comfyui"]
FILE = "pytorch_lora_weights.safetensors"  # as diffusers names it
MOST = 4096  # of a layer's rows and columns, whose singular values take minutes beyond
LOST = 1e-6  # of a change's largest singular value: what is smaller is rounding


def release_lora(
    pipe: Any, guards: Sequence[Any], folder: str | Path, *, model: str, dialect: Dialect = "diffusers"
) -> Path:
    """Write what ``guards`` change as one LoRA, with a card. The pipeline stays as it is.

    ``dialect`` "comfyui" has the names that ComfyUI's LoRA loaders read, of the UNet's layers only; stock diffusers
    reads them too.

    A changed weight W' is W + B A, by the singular values of W' - W; all layers have the rank of the one that needs
    most, since diffusers scales them alike. A guard that was fine-tuned as a whole comes out at full rank, and larger
    than the weights themselves.

    Raises:
        ConfigError: a guard acts while a picture is drawn, or changes something else than linear layers of the
            denoiser.
        ArtefactError: a guard was made for other weights.
    """
    folder = Path(folder)
    check_new(folder)
    check_merged(guards)
    check_bases(pipe, tuple(guards), family_of(pipe).named)
    WeightsSeam(pipe, list(guards))  # looks at the weights that they were made for, and changes none
    factors = {key: _factors(pipe, key, new) for guard in guards for key, new in guard.weights().items()}
    factors = {key: pair for key, pair in factors.items() if pair[0].numel()}
    rank = max((down.shape[0] for down, _ in factors.values()), default=0)
    if not rank:
        raise ConfigError("the guards change nothing in these weights; there is no LoRA to write.")
    factors = {key: _filled(*pair, rank) for key, pair in factors.items()}
    tensors = _tensors(factors) if dialect == "diffusers" else _kohya(pipe, factors)
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / FILE, tensors)
    (folder / "README.md").write_text(_model_card(pipe, guards, model, rank, len(factors)), encoding="utf-8")
    return folder


def _factors(pipe: Any, key: str, new: Tensor) -> tuple[Tensor, Tensor]:
    """A (r, in) and B (out, r) of one changed weight."""
    component, _, path = key.partition(".")
    layer_path, _, name = path.rpartition(".")
    layer = getattr(pipe, component).get_submodule(layer_path) if component in family_of(pipe).denoisers else None
    if not (isinstance(layer, nn.Linear) and name == "weight"):
        raise ConfigError(
            f"{key} is no linear layer's weight of the denoiser, and a LoRA holds nothing else (no bias either); "
            "export with --format diffusers."
        )
    if max(new.shape) > MOST:
        raise ConfigError(f"{key} is {tuple(new.shape)}; more than {MOST} rows or columns are not taken apart.")
    change = new.detach().double().cpu() - layer.weight.detach().double().cpu()
    left, sizes, right = torch.linalg.svd(change, full_matrices=False)
    kept = int((sizes > LOST * sizes[0]).sum()) if sizes[0] > 0 else 0
    root = sizes[:kept].sqrt()
    return (root[:, None] * right[:kept]).float(), (left[:, :kept] * root).float()


def _filled(down: Tensor, up: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """A pair filled up with zeros: diffusers loads layers of several ranks under some names, and not under others."""
    return pad(down, (0, 0, 0, rank - down.shape[0])), pad(up, (0, rank - up.shape[1]))


def _tensors(factors: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Under diffusers' names."""
    tensors: dict[str, Tensor] = {}
    for key, (down, up) in factors.items():
        path = key.removesuffix(".weight")
        tensors |= {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": up}
    return tensors


def _kohya(pipe: Any, factors: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Under the names of kohya's scripts; alpha is the rank: nothing is scaled.

    Raises:
        ConfigError: a layer of another denoiser than a UNet, for which ComfyUI has other names.
    """
    tensors: dict[str, Tensor] = {}
    for key, (down, up) in factors.items():
        component, _, path = key.removesuffix(".weight").partition(".")
        if not isinstance(getattr(pipe, component), UNet2DConditionModel):
            raise ConfigError(f"{key}: --format comfyui is for models with a UNet; export with --format lora.")
        name = f"lora_unet_{path.replace('.', '_')}"
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        tensors[f"{name}.alpha"] = torch.tensor(float(len(down)))
    return tensors


def _model_card(pipe: Any, guards: Sequence[Any], model: str, rank: int, layers: int) -> str:
    about = (
        f"Rank {rank} on {layers} linear layers: {' and '.join(guard.name for guard in guards)}, as a difference to "
        "the weights that they were made for. On other weights it means nothing. Whoever unloads it has the original."
    )
    load = [f'pipe = {type(pipe).__name__}.from_pretrained("{model}")', 'pipe.load_lora_weights("this folder")']
    lines = [
        *card_head(pipe, guards, model, about=about, load=load, lora=True),
        "## Keeps out",
        *(f"- {guard.name}: {', '.join(guard.concept.targets)}" for guard in guards),
    ]
    return "\n".join(lines) + "\n"
