"""Guards for any tiny pipeline: those that are trained get tensors by hand that do something."""

from __future__ import annotations

from typing import Any

import torch

from stanchion import Concept, load_guard, registry
from stanchion.guards.identifier import Identifier
from stanchion.guards.trajectory.monitor import PictureNetwork
from stanchion.pipeline.families import family_of
from stanchion.pipeline.model.base_weights import base_of
from stanchion.streams import TextStream

KNIVES = Concept("knives", "object", targets=("a knife",), anchors=("a cat",), labels=("knife",))


def guard(name: str, pipe: Any) -> Any:
    """A registered guard against knives."""
    kind = registry.get("guards", name)
    if not kind.trained:
        return load_guard(name, concept=KNIVES, **({"judge": "always_unsafe"} if name == "picture_check" else {}))
    tensors, base, settings = MADE.get(name, _half_of_the_last_layer)(pipe)
    return kind(KNIVES, tensors=tensors, base=base, **settings)


def _half_of_the_last_layer(pipe: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """Weights of the denoiser."""
    name = family_of(pipe).denoisers[0]
    key, value = [(key, p) for key, p in getattr(pipe, name).named_parameters(prefix=name) if p.ndim > 1][-1]
    return {key: value.detach() / 2}, {"weights": base_of({key: value})}, {}


def _black(pipe: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """A decoder whose last convolution makes nothing but black."""
    found = [(path, part) for path, part in pipe.vae.decoder.named_modules(prefix="vae.decoder") if _makes_rgb(part)]
    path, last = found[-1]
    held = {f"{path}.weight": last.weight, f"{path}.bias": last.bias}
    tensors = {f"{path}.weight": torch.zeros_like(last.weight), f"{path}.bias": -torch.ones_like(last.bias)}
    return {key: value.detach() for key, value in tensors.items()}, {"weights": base_of(held)}, {}


def _makes_rgb(part: Any) -> bool:
    return isinstance(part, torch.nn.Conv2d | torch.nn.Conv3d) and part.out_channels == 3


def _adapters(pipe: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """An adapter of noise wherever text is projected."""
    name = family_of(pipe).denoisers[0]
    denoiser = getattr(pipe, name)
    torch.manual_seed(0)
    places = family_of(pipe).text_projections(denoiser, ("k", "v"))
    tensors = {f"{p.layer}.to_{p.which}.adapter": torch.randn(p.weight.shape) for p in places}
    tensors = tensors or {"somewhere.to_k.adapter": torch.ones(1, 1)}  # where it is refused, any will do
    return tensors, {"unet": base_of(dict(denoiser.named_parameters()))}, {"rows": 16}


def _wary(pipe: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """For each text encoder an identifier that finds everything unsafe, and a map to noise."""
    family, tensors, base = family_of(pipe), {}, {}
    for stream in family.streams(pipe):
        prefix = "" if stream.name == "text_encoder" else f"{stream.name}."
        tensors |= {prefix + name: value for name, value in _alert(_width(pipe, stream)).items()}
        for part in stream.bases:
            base[part] = base_of(dict(getattr(pipe, family.named(part)).named_parameters()))
    return tensors, base, {}


def _width(pipe: Any, stream: TextStream) -> int:
    """Of what its encoders say side by side; where it is refused, any will do."""
    encoders = (getattr(pipe, family_of(pipe).named(part)) for part in stream.bases)
    return sum(getattr(encoder.config, "hidden_size", 32) for encoder in encoders)


def _alert(width: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    identifier = Identifier(width)
    identifier.last.bias.data.fill_(10.0)
    tensors = {name: value.detach() for name, value in identifier.state_dict().items()}
    return tensors | {"map.weight": torch.randn(width, width) / width**0.5, "map.bias": torch.zeros(width)}


def _alarmed(pipe: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """A network that sees the concept everywhere."""
    torch.manual_seed(0)
    network = PictureNetwork(_channels(pipe))
    network.last.bias.data.fill_(10.0)
    denoiser = getattr(pipe, family_of(pipe).denoisers[0])
    base = {"unet": base_of(dict(denoiser.named_parameters())), "vae": base_of(dict(pipe.vae.named_parameters()))}
    tensors = {name: value.detach() for name, value in network.state_dict().items()}
    return tensors, base, {"look_from": 0.0, "hits": 1, "still": "keep"}


def _channels(pipe: Any) -> int:
    """Of its latents as maps; FLUX.2 has patches of 2 x 2 for channels."""
    config = pipe.vae.config
    held = getattr(config, "latent_channels", None) or getattr(config, "z_dim", 4)
    return 4 * held if family_of(pipe).name.startswith("flux_2") else held


MADE = {"patronus_moderator": _black, "forceforget": _adapters, "steerdiff": _wary, "monitor": _alarmed}
