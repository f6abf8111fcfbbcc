"""A pipeline's parts as training uses them: texts, predictions, trajectories and pictures, with gradients."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...registry import unknown
from ..families.base import Place
from ..noise import regression_of
from .text_bench import DrawingBench

PARTS = {  # what the paths of a part's parameters begin with; None: as the family says
    "denoiser": r"",
    "down": r"down_blocks\.",
    "mid": r"mid_block\.",
    "up": r"up_blocks\.",
    "cross_attention": None,
    "decoder": r"(decoder|post_quant_conv)\.",
}


class Workbench(DrawingBench):
    """An unguarded pipeline of a supported family, opened up. Its weights are frozen by whoever trains beside them.

    What a text says to the denoiser is one tensor here, (R, D): its states (L, D), and where the family has a vector
    beside them that as one more row. Latents are as the denoiser takes them: (C, H, W), or packed.

    Attributes:
        pipe: the pipeline itself.
        path: the noise process, as models are trained on it.

    Raises:
        UnsupportedPipeline: no seam, or no recipe, knows the pipeline; or it predicts neither noise nor velocity.
        AlreadyAttached: it is guarded.
    """

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe)
        self.family.check_training()
        self.path = regression_of(pipe.scheduler, self.device)

    @property
    def alpha_bar(self) -> Tensor:
        """(T,) the share of signal in x_t at each whole training timestep: cumulative products of alpha."""
        return self.path.alpha_bar

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(C, H, W) of the model's native pictures, or (S, C) where they are packed."""
        shape: tuple[int, ...] = self.family.latent_shape(self.pipe)
        return shape

    def as_map(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) of native pictures' latents (B, …), which may be packed."""
        maps: Tensor = self.family.as_map(latents)
        return maps

    def from_map(self, maps: Tensor) -> Tensor:
        """Latents (B, …) of what ``as_map`` made."""
        latents: Tensor = self.family.from_map(self.pipe, maps)
        return latents

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), R, D), padded as the pipeline pads."""
        with torch.no_grad():
            return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> Tensor:
        said = self.family.encode(self.pipe, texts, self.family.arguments(self.pipe, 1.0, len(texts)))
        rows: Tensor = self.family.packed(said)
        return rows

    def predict(self, latents: Tensor, timesteps: Tensor, embeds: Tensor, denoiser: Any = None) -> Tensor:
        """What the denoiser sees in x_t (B, …): noise, or in a flow velocity; differentiable. ``timesteps`` () or (B,).

        ``denoiser`` is a copy that is being trained, where it is not the pipeline's own.
        """
        one = self.family.opening(self.pipe, latents, timesteps, self.family.unpacked(embeds))
        output: Tensor = self.family.run(denoiser or self.denoiser, one).sample
        return self.path.learnt(output, latents, timesteps)

    def wanted(self, clean: Tensor, noise: Tensor) -> Tensor:
        """What ``predict`` should be at x_t of ``clean`` latents under that noise: what the model is regressed on."""
        return self.path.wanted(clean, noise)

    def guided(self, latents: Tensor, timesteps: Tensor, embeds: Tensor, empty: Tensor, scale: float) -> Tensor:
        """A prediction under classifier-free guidance, both predictions in one batch."""
        both = torch.cat([empty.expand_as(embeds), embeds])
        times = timesteps if timesteps.ndim == 0 else torch.cat([timesteps, timesteps])
        unconditional, conditional = self.predict(torch.cat([latents, latents]), times, both).chunk(2)
        return unconditional + scale * (conditional - unconditional)

    def timesteps(self, steps: int) -> Tensor:
        """(steps,) training timesteps of a picture's schedule, noisiest first."""
        return self.path.times(steps)

    @torch.no_grad()
    def trajectory(
        self, embeds: Tensor, empty: Tensor, noise: Tensor, *, steps: int, scale: float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """x_t of a deterministic run (DDIM, or Euler), as (timestep, latents) before each step, and last (0, x_0)."""
        latents, times = noise, self.timesteps(steps)
        for place, time in enumerate(times):
            yield time, latents
            predicted = self.guided(latents, time, embeds, empty, scale)
            latents = self.path.moved(latents, predicted, time, times[place + 1] if place + 1 < steps else None)
        yield torch.zeros_like(times[0]), latents

    def noisy(self, clean: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor:
        """x_t of clean latents."""
        return self.path.noisy(clean, timesteps, noise)

    def decode(self, latents: Tensor, vae: Any = None) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], nearly; differentiable.

        ``vae`` is a copy that is being trained, where it is not the pipeline's own.
        """
        vae = vae or self.pipe.vae
        return vae.decode(self.family.for_vae(self.pipe, latents.to(vae.dtype))).sample

    def bottleneck(self, latents: Tensor, vae: Any = None) -> Tensor:
        """The decoder's features (B, C, h, w) before it begins to enlarge them; differentiable. ``vae`` as above."""
        vae = vae or self.pipe.vae
        latents = self.family.for_vae(self.pipe, latents.to(vae.dtype))
        return vae.decoder.mid_block(vae.decoder.conv_in(vae.post_quant_conv(latents)))

    def encode_pictures(self, pictures: Tensor) -> Tensor:
        """Mean latents of pictures (B, 3, H, W) in [-1, 1]."""
        vae = self.pipe.vae
        latents: Tensor = self.family.from_vae(self.pipe, vae.encode(pictures.to(vae.dtype)).latent_dist.mean)
        return latents

    def text_readers(self) -> dict[str, nn.Linear]:
        """The denoiser's linear layers that read text states as the encoder gave them, by path."""
        return dict(self.family.text_readers(self.denoiser))

    def text_projections(self, which: Sequence[str]) -> list[Place]:
        """Every projection of text in the denoiser's attention, in the model's order: what attention guards see."""
        places: list[Place] = self.family.text_projections(self.denoiser, which)
        return places

    def crosses(self, path: str, *, reading: bool = False) -> bool:
        """Whether a path of the denoiser lies in its attention to text; ``reading``: makes keys or values there."""
        within = re.match(self.family.crossing, path) is not None
        return within and (not reading or path.endswith(tuple(self.family.reading)))

    def attention_projections(self) -> dict[str, nn.Linear]:
        """Every to_q, to_k, to_v and to_out of the denoiser's attention by its path, in the model's order."""
        ends = ("to_q", "to_k", "to_v", "to_out.0")
        return {name: module for name, module in self.denoiser.named_modules() if name.endswith(ends)}

    def part(self, name: str, module: Any = None) -> dict[str, nn.Parameter]:
        """The parameters of a part of the model, by their path in its module.

        Args:
            name: "denoiser"; its "down", "mid" or "up" blocks, or its "cross_attention" alone; or "decoder", with the
                convolution before it.
            module: a copy of the denoiser or autoencoder, where it is not the pipeline's own.

        Raises:
            ConfigError: another name, or the model has no such part.
        """
        if name not in PARTS:
            raise ConfigError(unknown("part of a model", name, PARTS))
        module = module or (self.pipe.vae if name == "decoder" else self.denoiser)
        known = PARTS[name]
        pattern = self.family.crossing if known is None else known
        chosen = {path: value for path, value in module.named_parameters() if re.match(pattern, path)}
        if not chosen:
            raise ConfigError(f"this model has no {name!r}.")
        return chosen

    def embedding_of(self, word: str) -> Tensor:
        """The row (D,) of the text encoder's table that belongs to ``word``; writing to it changes the model.

        Raises:
            ConfigError: the word is not one token.
        """
        return self._encoder.get_input_embeddings().weight.data[self._token(word)]

    def encode_with(self, texts: Sequence[str], word: str, vector: Tensor) -> Tensor:
        """(len(texts), R, D) where ``vector`` (D,) is the embedding of ``word``; differentiable in it."""
        token = self._token(word)

        def swapped(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
            return torch.where((args[0] == token)[..., None], vector, out)

        handle = self._encoder.get_input_embeddings().register_forward_hook(swapped)
        try:
            return self._encode(texts)
        finally:
            handle.remove()

    @property
    def _encoder(self) -> Any:
        return getattr(self.pipe, self.family.states_of)

    def _token(self, word: str) -> int:
        ids = self.pipe.tokenizer(word, add_special_tokens=False).input_ids
        if len(ids) != 1:
            raise ConfigError(f"{word!r} is {len(ids)} tokens for this model; give a word that is one.")
        return ids[0]

    @contextmanager
    def projected(self, guard: Any, state: Any = None) -> Iterator[None]:
        """Let an attention guard edit the projections, as its seam will, with gradients."""
        handles, length = [], self.states([""]).shape[1]
        for place in self.text_projections(guard.projections):
            rows = (
                slice(None)
                if place.rows == "all"
                else slice(0, length)
                if place.rows == "first"
                else slice(-length, None)
            )

            def hook(
                module: nn.Module, args: tuple[Tensor, ...], out: Tensor, place: Place = place, rows: slice = rows
            ) -> Tensor:
                new = guard.project(place.layer, place.which, args[0][:, rows], out[:, rows], state)
                if place.rows == "all":
                    return new
                return torch.cat([new, out[:, length:]] if place.rows == "first" else [out[:, :-length], new], 1)

            handles.append(place.module.register_forward_hook(hook))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
