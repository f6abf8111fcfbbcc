"""Which network's features tell how far a picture is from the blank one: the reference model's own, or VGG19."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ....errors import ConfigError
from ....files.tensors import read_tensors

Features = Callable[[Tensor], list[Tensor]]

RELU3_4 = (
    64,
    64,
    0,
    128,
    128,
    0,
    256,
    256,
    256,
    256,
)  # widths of VGG19's convolutions until then; 0 halves the picture


def load_feature_network(source: str, device: torch.device) -> Features:
    """phi: pictures (B, 3, H, W) in [-1, 1] to maps (B, C, h, w), differentiable.

    Args:
        source: "none" for the pixels themselves; "reference" for the network that comes with the reference model,
            pixels beside it; or a folder or Hub id with VGG19's weights in ``model.safetensors``, as
            "timm/vgg19.tv_in1k", for relu3_4, pixels beside it.

    Raises:
        ConfigError: there are no such weights.
    """
    if source == "none":
        return lambda pictures: [pictures]
    network: Features
    if source == "reference":
        from ....reference.features import load_features

        network = load_features().to(device).requires_grad_(False).maps
    else:
        vgg = vgg19(source).to(device)
        network = lambda pictures: [vgg(pictures)]  # noqa: E731
    return lambda pictures: [pictures, *network(pictures)]


def vgg19(source: str) -> nn.Sequential:
    """VGG19 (arXiv 1409.1556) from the pixels to relu3_4, frozen. Its input is not normalised, as in the release."""
    layers: list[nn.Module] = []
    width = 3
    for wider in RELU3_4:
        if wider:
            layers += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU()]
            width = wider
        else:
            layers.append(nn.MaxPool2d(2))
    network = nn.Sequential(*layers)
    weights = read_tensors(_weights_of(source))
    wanted = {key: weights.get(f"features.{key}") for key in network.state_dict()}
    if missing := [key for key, value in wanted.items() if value is None]:
        raise ConfigError(f"features: {source!r} is no VGG19, it has no weight features.{missing[0]}.")
    network.load_state_dict(wanted)
    return network.eval().requires_grad_(False)


def _weights_of(source: str) -> Path:
    file = Path(source) / "model.safetensors"
    if file.is_file():
        return file
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source, "model.safetensors"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"features: {source!r} is neither 'none', 'reference', a folder with model.safetensors, nor on the Hub: "
            f"{error}"
        ) from None
