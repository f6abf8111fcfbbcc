"""A pipeline's parts as training uses them: texts, predictions, trajectories and pictures, with gradients."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from ...errors import AlreadyAttached, ConfigError, UnsupportedPipeline
from ...registry import unknown
from ...types import PromptEmbeds
from ..families import family_of
from .base_weights import base_of

PARTS = {  # what the paths of a part's parameters begin with
    "denoiser": r"",
    "down": r"down_blocks\.",
    "mid": r"mid_block\.",
    "up": r"up_blocks\.",
    "cross_attention": r".+\.attn2\.",
    "decoder": r"(decoder|post_quant_conv)\.",
}


class Workbench:
    """An unguarded pipeline of a supported family, opened up. Its weights are frozen by whoever trains beside them.

    Attributes:
        pipe: the pipeline itself.
        alpha_bar: (T,) cumulative products of alpha, the share of signal in x_t at each training timestep.

    Raises:
        UnsupportedPipeline: no seam, or no recipe, knows the pipeline; or it predicts neither noise nor velocity.
        AlreadyAttached: it is guarded.
    """

    def __init__(self, pipe: Any) -> None:
        if getattr(type(pipe), "_stanchion", None):
            raise AlreadyAttached("guards are trained on an unguarded pipeline: detach first.")
        self.family = family_of(pipe)
        self.family.check_training()
        self.pipe = pipe
        self._ddim = DDIMScheduler.from_config(pipe.scheduler.config)
        self.prediction_type = self._ddim.config.prediction_type
        if self.prediction_type not in ("epsilon", "v_prediction"):
            raise UnsupportedPipeline(f"the denoiser predicts {self.prediction_type!r}; training needs noise or v.")
        self.alpha_bar: Tensor = self._ddim.alphas_cumprod.to(self.device)

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return self.denoiser.device

    @property
    def dtype(self) -> torch.dtype:
        """What the denoiser computes in."""
        return self.denoiser.dtype

    @property
    def denoiser(self) -> Any:
        """The UNet."""
        return getattr(self.pipe, self.family.denoisers[0])

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the model's native pictures."""
        size = self.denoiser.config.sample_size
        return self.pipe.vae.config.latent_channels, size, size

    @cached_property
    def identity(self) -> str:
        """Names the weights of text encoder, denoiser and autoencoder."""
        return "-".join(self.base_of(name)[:12] for name in ("text_encoder", self.family.denoisers[0], "vae"))

    def base_of(self, module: str) -> str:
        """What an artefact's ``base`` holds of one module of the pipeline: its weights' hashes."""
        return base_of(dict(getattr(self.pipe, module).named_parameters()))

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), L, D) states, padded as the pipeline pads."""
        return self.pipe.encode_prompt(list(texts), self.device, 1, False)[0]

    def read(self, texts: Sequence[str]) -> PromptEmbeds:
        """The same with token ids and the mask of the texts' own tokens."""
        embeds = self.encode(texts)
        return PromptEmbeds(embeds, *self.family.tokens(self.pipe, texts, embeds), tuple(texts))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of its own each text has, whole as it is given."""
        spoken = self.pipe.maybe_convert_prompt(list(texts), self.pipe.tokenizer)
        return [len(ids) for ids in self.pipe.tokenizer(spoken, add_special_tokens=False, verbose=False).input_ids]

    def predict(self, latents: Tensor, timesteps: Tensor, embeds: Tensor, denoiser: Any = None) -> Tensor:
        """Noise (B, C, H, W) that the denoiser sees in x_t; differentiable. ``timesteps`` is () or (B,).

        ``denoiser`` is a copy that is being trained, where it is not the pipeline's own.
        """
        output = (denoiser or self.denoiser)(latents, timesteps, encoder_hidden_states=embeds).sample
        if self.prediction_type == "epsilon":
            return output
        alpha_bar = self.alpha_bar[timesteps].to(output).reshape(-1, 1, 1, 1)
        return alpha_bar.sqrt() * output + (1 - alpha_bar).sqrt() * latents

    def guided(self, latents: Tensor, timesteps: Tensor, embeds: Tensor, empty: Tensor, scale: float) -> Tensor:
        """Noise under classifier-free guidance, both predictions in one batch."""
        both = torch.cat([empty.expand_as(embeds), embeds])
        times = timesteps if timesteps.ndim == 0 else torch.cat([timesteps, timesteps])
        unconditional, conditional = self.predict(torch.cat([latents, latents]), times, both).chunk(2)
        return unconditional + scale * (conditional - unconditional)

    def timesteps(self, steps: int) -> Tensor:
        """(steps,) training timesteps of a DDIM schedule, noisiest first."""
        self._ddim.set_timesteps(steps)
        return self._ddim.timesteps.to(self.device)

    @torch.no_grad()
    def trajectory(
        self, embeds: Tensor, empty: Tensor, noise: Tensor, *, steps: int, scale: float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """x_t of a deterministic DDIM run, as (timestep, latents) before each step, and last (0, x_0)."""
        latents, times = noise, self.timesteps(steps)
        for place, time in enumerate(times):
            yield time, latents
            eps = self.guided(latents, time, embeds, empty, scale)
            here = self.alpha_bar[time]
            there = self.alpha_bar[times[place + 1]] if place + 1 < steps else torch.ones_like(here)
            clean = (latents - (1 - here).sqrt() * eps) / here.sqrt()
            latents = there.sqrt() * clean + (1 - there).sqrt() * eps
        yield torch.zeros_like(times[0]), latents

    def noisy(self, clean: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor:
        """x_t of clean latents."""
        alpha_bar = self.alpha_bar[timesteps].to(clean).reshape(-1, 1, 1, 1)
        return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise

    def decode(self, latents: Tensor, vae: Any = None) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], nearly; differentiable.

        ``vae`` is a copy that is being trained, where it is not the pipeline's own.
        """
        vae = vae or self.pipe.vae
        return vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample

    def bottleneck(self, latents: Tensor, vae: Any = None) -> Tensor:
        """The decoder's features (B, C, h, w) before it begins to enlarge them; differentiable. ``vae`` as above."""
        vae = vae or self.pipe.vae
        latents = vae.post_quant_conv(latents.to(vae.dtype) / vae.config.scaling_factor)
        return vae.decoder.mid_block(vae.decoder.conv_in(latents))

    def encode_pictures(self, pictures: Tensor) -> Tensor:
        """Mean latents of pictures (B, 3, H, W) in [-1, 1]."""
        vae = self.pipe.vae
        return vae.encode(pictures.to(vae.dtype)).latent_dist.mean * vae.config.scaling_factor

    def cross_attentions(self) -> dict[str, nn.Module]:
        """Every cross-attention layer of the denoiser (``attn2``) by its path, in the model's order."""
        return {name: module for name, module in self.denoiser.named_modules() if name.endswith("attn2")}

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
        chosen = {path: value for path, value in module.named_parameters() if re.match(PARTS[name], path)}
        if not chosen:
            raise ConfigError(f"this model has no {name!r}.")
        return chosen

    def embedding_of(self, word: str) -> Tensor:
        """The row (D,) of the text encoder's table that belongs to ``word``; writing to it changes the model.

        Raises:
            ConfigError: the word is not one token.
        """
        return self.pipe.text_encoder.get_input_embeddings().weight.data[self._token(word)]

    def encode_with(self, texts: Sequence[str], word: str, vector: Tensor) -> Tensor:
        """(len(texts), L, D) states where ``vector`` (D,) is the embedding of ``word``; differentiable in it."""
        token = self._token(word)

        def swapped(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
            return torch.where((args[0] == token)[..., None], vector, out)

        handle = self.pipe.text_encoder.get_input_embeddings().register_forward_hook(swapped)
        try:
            return self.pipe.encode_prompt(list(texts), self.device, 1, False)[0]
        finally:
            handle.remove()

    def _token(self, word: str) -> int:
        ids = self.pipe.tokenizer(word, add_special_tokens=False).input_ids
        if len(ids) != 1:
            raise ConfigError(f"{word!r} is {len(ids)} tokens for this model; give a word that is one.")
        return ids[0]

    @contextmanager
    def projected(self, guard: Any, state: Any = None) -> Iterator[None]:
        """Let an attention guard edit the projections, as its seam will, with gradients."""
        handles = []
        for name, layer in self.cross_attentions().items():
            for which in guard.projections:

                def hook(
                    module: nn.Module, args: tuple[Tensor, ...], out: Tensor, where: Any = (name, which)
                ) -> Tensor:
                    return guard.project(*where, args[0], out, state)

                handles.append(getattr(layer, f"to_{which}").register_forward_hook(hook))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
