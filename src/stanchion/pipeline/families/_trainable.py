"""What training and white-box attacks ask of a family beside what guards do: a prediction outside of any call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...types import Condition
from ._values import Pass, unpatched


class Trainable(ABC):
    """A family that is opened up. Latents are as its denoiser takes them, which need not be pictures' shape.

    Attributes:
        crossing: a pattern for the paths of the denoiser's attention to text, as a whole.
        reading: which of its layers' names make keys and values of text.
    """

    crossing: ClassVar[str]
    reading: ClassVar[tuple[str, ...]]

    @abstractmethod
    def latent_shape(self, pipe: Any) -> tuple[int, ...]:
        """Of one native picture's latents."""

    @abstractmethod
    def opening(self, pipe: Any, latents: Tensor, times: Tensor, condition: Condition) -> Pass:
        """The denoiser's inputs for (B, …) latents at times () or (B,) of the training schedule."""

    def as_map(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) of a native picture's latents, where they are packed."""
        return latents

    def from_map(self, pipe: Any, maps: Tensor) -> Tensor:
        """Latents as the denoiser takes them, of what ``as_map`` made."""
        return maps

    @abstractmethod
    def for_vae(self, pipe: Any, latents: Tensor) -> Tensor:
        """(B, C, h, w) as the autoencoder decodes them."""

    @abstractmethod
    def from_vae(self, pipe: Any, latents: Tensor) -> Tensor:
        """(B, …) of (B, C, h, w) that the autoencoder made."""

    @abstractmethod
    def text_readers(self, denoiser: Any) -> Mapping[str, nn.Linear]:
        """The linear layers that read text states as the encoder gave them, by path, in the model's order."""

    def packed(self, condition: Condition) -> Tensor:
        """All that a text says to the denoiser as one tensor (N, R, D), rows that can be picked and put together."""
        return condition.embeds

    def unpacked(self, rows: Tensor) -> Condition:
        """What ``packed`` put together."""
        return Condition(rows)

    def beside(self, pipe: Any, states: Tensor, ids: Tensor | None = None) -> dict[str, Tensor]:
        """What else a text says to the denoiser, by its states (N, L, D) and token ids (N, L), where it has any."""
        return {}


class TrainableUNet(Trainable):
    """Cross-attention in ``attn2``; latents are (C, h, w)."""

    crossing = r"(.+\.)?attn2\."
    reading = ("to_k", "to_v")

    def latent_shape(self, pipe: Any) -> tuple[int, ...]:
        size = pipe.unet.config.sample_size
        return pipe.vae.config.latent_channels, size, size

    def opening(self, pipe: Any, latents: Tensor, times: Tensor, condition: Condition) -> Pass:
        inputs = {"sample": latents, "timestep": times, "encoder_hidden_states": condition.embeds}
        return Pass(inputs, placed=("sample", "timestep"))

    def for_vae(self, pipe: Any, latents: Tensor) -> Tensor:
        return latents / pipe.vae.config.scaling_factor

    def from_vae(self, pipe: Any, latents: Tensor) -> Tensor:
        return latents * pipe.vae.config.scaling_factor

    def text_readers(self, denoiser: Any) -> Mapping[str, nn.Linear]:
        layers = [(name, module) for name, module in denoiser.named_modules() if name.endswith("attn2")]
        return {f"{name}.{which}": getattr(module, which) for name, module in layers for which in self.reading}


class TrainableFlux(Trainable):
    """Joint attention; latents are packed, (S, 4 C); behind the states' rows lies the pooled vector as one more."""

    crossing = r"(single_)?transformer_blocks\.\d+\.attn\."
    reading = ("add_k_proj", "add_v_proj", "to_k", "to_v")

    def latent_shape(self, pipe: Any) -> tuple[int, ...]:
        side = pipe.default_sample_size // 2
        return side * side, pipe.transformer.config.in_channels

    def opening(self, pipe: Any, latents: Tensor, times: Tensor, condition: Condition) -> Pass:
        side, length = round(latents.shape[1] ** 0.5), condition.embeds.shape[1]
        share = (times.to(latents) / pipe.scheduler.config.num_train_timesteps).expand(len(latents))
        return Pass(
            {
                "hidden_states": latents,
                "timestep": share,
                "guidance": None,
                "pooled_projections": condition.extra["pooled_projections"],
                "encoder_hidden_states": condition.embeds,
                "txt_ids": latents.new_zeros(length, 3),
                "img_ids": pipe._prepare_latent_image_ids(1, side, side, latents.device, latents.dtype),
            }
        )

    def as_map(self, latents: Tensor) -> Tensor:
        side = round(latents.shape[1] ** 0.5)
        return unpatched(latents, side, side)

    def from_map(self, pipe: Any, maps: Tensor) -> Tensor:
        packed: Tensor = pipe._pack_latents(maps, *maps.shape)
        return packed

    def for_vae(self, pipe: Any, latents: Tensor) -> Tensor:
        return self.as_map(latents) / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor

    def from_vae(self, pipe: Any, latents: Tensor) -> Tensor:
        return self.from_map(pipe, (latents - pipe.vae.config.shift_factor) * pipe.vae.config.scaling_factor)

    def text_readers(self, denoiser: Any) -> Mapping[str, nn.Linear]:
        where = ("context_embedder", "time_text_embed.text_embedder.linear_1")
        return {path: denoiser.get_submodule(path) for path in where}

    def packed(self, condition: Condition) -> Tensor:
        return torch.cat([condition.embeds, condition.extra["pooled_projections"][:, None]], 1)

    def unpacked(self, rows: Tensor) -> Condition:
        return Condition(rows[:, :-1], {"pooled_projections": rows[:, -1]})

    def beside(self, pipe: Any, states: Tensor, ids: Tensor | None = None) -> dict[str, Tensor]:
        """CLIP's vector: its state at the first end token, or where ids are highest, as it has been told to look.

        Without ids it is the last row, which says all that the rows before it do: what an attacker sends with states.
        """
        if ids is None:
            return {"pooled_projections": states[:, -1]}
        end = pipe.text_encoder.config.eos_token_id
        places = ids.argmax(1) if end == 2 else (ids == end).int().argmax(1)
        return {"pooled_projections": states[torch.arange(len(states), device=states.device), places]}
