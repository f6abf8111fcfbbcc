"""The guarded denoiser at one x_t, with gradients: what a white-box attacker differentiates through.

It runs the guards as the seams do, one step at a time and outside of any call of the pipeline, with gradients on. A
guard sees that they are on and lets them through its hard choices (``straight_through.py``); what it returns
is what the pipeline would have used at that step. Latents are variance-preserving, whatever the scheduler: those of a
flow are c times the pipeline's own (``noise/flow.py``), and what a family packs stays packed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...errors import ConfigError
from ...types import Condition, Guided, PromptEmbeds, Step
from ..attach.guard_record import Record
from ..attach.guarded_class import unwrapped
from ..attach.watching import check
from ..families import family_of
from ..families.base import Pass
from ..freezing import frozen
from ..noise import process_of, regression_of
from ..noise.flow import Flow
from ..phrase_cache import PhraseCache
from ..proof import caches
from ..proof.tripwire import opened
from ..seams.attention import AttentionSeam
from ..seams.decode import DecodeSeam
from ..seams.prediction import Predictor, stock
from ..seams.step import clean
from ..seams.text_chain import TextChain
from ..stages import Stage
from .encoding import Encoding, own_tokens
from .text_encoder import TextEncoder


@dataclass(frozen=True)
class _Pass:
    """What one prediction needs: the step, its predictor, the guard that steers, if one does, and those that watch."""

    step: Step
    predictor: Predictor
    attention: AttentionSeam
    record: Record | None
    watching: tuple[Record, ...]


class GuardedPrediction:
    """The denoiser and decoder of a pipeline under guards.

    Attributes:
        timesteps: of a picture's steps, noisiest first.
    """

    def __init__(self, pipe: Any, guards: Sequence[Any], steps: int, guidance_scale: float) -> None:
        self._pipe, self._guards, self._scale = pipe, tuple(guards), guidance_scale
        self._family: Any = family_of(pipe)
        self._family.check_training()
        self._denoiser = self._family.denoisers_of(pipe)[0]
        self._vae = unwrapped(pipe, "vae")
        self._text = TextEncoder(pipe)
        self._call = Encoding(pipe, self._family, self._family.arguments(pipe, guidance_scale, 1), PhraseCache())
        scheduler = unwrapped(pipe, "scheduler")
        self._noise = process_of(scheduler)
        self.timesteps: tuple[int, ...] = _timesteps(scheduler, steps, self._call.device)
        whole = torch.arange(self._noise.train_timesteps)
        self._alpha_bar: Tensor = self._noise.alpha_bar(whole).to(self._call.device, torch.float32)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one picture's latents, or (S, C) where they are packed."""
        shape: tuple[int, ...] = self._family.latent_shape(self._pipe)
        return shape

    @property
    def decoder_guarded(self) -> bool:
        """Whether a decoder guard is among the guards."""
        return any(guard.stage is Stage.DECODER for guard in self._guards)

    def alpha_bar(self, timestep: int) -> float:
        """abar_t."""
        return float(self._alpha_bar[timestep])

    def noisy(self, clean: Tensor, timestep: int, noise: Tensor) -> Tensor:
        """x_t of clean latents."""
        alpha_bar = self._alpha_bar[timestep]
        return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise

    def clean(self, latents: Tensor, timestep: int, noise: Tensor) -> Tensor:
        """x_0 of x_t and its noise."""
        alpha_bar = self._alpha_bar[timestep]
        return (latents - (1 - alpha_bar).sqrt() * noise) / alpha_bar.sqrt()

    def prompt(self, ids: Tensor | None, token_embeds: Tensor | None, embeds: Tensor | None) -> PromptEmbeds:
        """The prompt's states before any guard, with what a text guard may read of it."""
        if (embeds is None) == (ids is None and token_embeds is None):
            raise ConfigError("give embeds, or ids, token_embeds or both of these.")
        if embeds is not None:
            return PromptEmbeds(embeds)
        states = self._text.encode(ids, token_embeds)
        if ids is None:
            return PromptEmbeds(states)
        texts = self._text.words(ids)
        return PromptEmbeds(states, ids, own_tokens(self._pipe.tokenizer, ids), tuple(texts))

    def guided(self, latents: Tensor, timestep: int, prompt: PromptEmbeds) -> Guided:
        """The prediction that the scheduler would get, in the model's own parametrisation, and x_t."""
        with self._passing(latents, timestep, prompt) as pass_:
            guided = self._guide(pass_)
        return replace(guided, latents=guided.latents * self._scaled(timestep)) if self._flows else guided

    def noise(self, latents: Tensor, timestep: int, prompt: PromptEmbeds) -> Tensor:
        """e + (g - e) / s in units of noise: see ``WhiteBoxTarget.predict_noise``."""
        with self._passing(latents, timestep, prompt) as pass_:
            step = pass_.step
            own = step.latents
            if pass_.record is None and not pass_.watching:
                return self._as_noise(step.predict(own, step.prompt)[0], own, timestep)
            guided = self._guide(pass_)
            empty = pass_.predictor.made.get(id(step.empty))
            if empty is None:
                with torch.no_grad():
                    (empty,) = step.predict(own, step.empty)
        alpha_bar = self._alpha_bar[timestep]
        moved = (own - guided.latents) * self._scaled(timestep)
        seen = self._as_noise(guided.noise, own, timestep) + moved / (1 - alpha_bar).sqrt()
        unconditional = self._as_noise(empty, own, timestep).detach()
        return unconditional + (seen - unconditional) / self._scale

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], nearly, through the decoder guards."""
        seam = DecodeSeam(self._records(Stage.DECODER))
        scaled = self._family.for_vae(self._pipe, latents.to(self._vae.dtype))
        with frozen(self._vae):
            return seam.vae(self._vae).decode(scaled, return_dict=False)[0]

    @torch.no_grad()
    def encode_pictures(self, images: Sequence[Image.Image]) -> Tensor:
        """Mean latents of pictures."""
        pixels = unwrapped(self._pipe, "image_processor").preprocess(list(images))
        vae = self._vae
        latents: Tensor = self._family.from_vae(
            self._pipe, vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mean
        )
        return latents

    def _guide(self, pass_: _Pass) -> Guided:
        """As the pipeline would, had a monitor its hits by now and those who wait for it heard of them in this step."""
        guided = self._steered(pass_)
        for record in pass_.watching:
            step, guard = pass_.step, record.guard
            with record.blame():
                flagged = guard.look(step, clean(self._noise, step, pass_.predictor, guided), record.state)
            check(record, flagged, len(step.latents))
            if any(one.asks_monitor and one.concept.name == guard.concept.name for one in self._guards):
                self._call.seen = {**self._call.seen, guard.concept.name: flagged}
                pass_.attention.judge(step.prompt.embeds, seen=self._call.seen)
                guided = self._steered(pass_)
            with record.blame():
                answer = guard.answer(step, guided, flagged, record.state)
            guided = replace(answer, acted=guided.acted | answer.acted, scores={**guided.scores, **answer.scores})
        return guided

    def _steered(self, pass_: _Pass) -> Guided:
        if pass_.record is None:
            return stock(pass_.step)
        with pass_.record.blame():
            return pass_.record.guard.on_step(pass_.step, pass_.record.state)

    @contextmanager
    def _passing(self, latents: Tensor, timestep: int, prompt: PromptEmbeds) -> Iterator[_Pass]:
        """One pass with every guard in place and the weights held still."""
        self._call.seen = {}
        place = min(range(len(self.timesteps)), key=lambda index: abs(self.timesteps[index] - timestep))
        attention = AttentionSeam(self._family, [self._denoiser], self._records(Stage.ATTENTION))
        trajectory = self._records(Stage.TRAJECTORY)
        steering = [record for record in trajectory if not record.guard.watches]
        backend = (
            SDPBackend.MATH if steering and torch.is_grad_enabled() else None
        )  # the only one that differentiates twice

        def forward(one: Pass) -> Any:
            watched = attention.watched(self._denoiser, one)
            with opened(self._denoiser), watched, caches.left_out(self._denoiser), _attention_by(backend):
                return self._family.run(self._denoiser, one)

        time = torch.tensor(timestep, device=latents.device)
        own = latents / self._scaled(timestep) if self._flows else latents
        first = self._family.opening(self._pipe, own, time, self._said(prompt, prompt.embeds))
        shown = replace(first, inputs={**first.inputs, "return_dict": False})
        predictor = Predictor(forward, lambda sample: sample, self._family, shown)
        done = place / len(self.timesteps)
        texts = self._records(Stage.TEXT)
        with attention.hooked(), frozen(self._denoiser):
            empty = self._call.read([""])
            step = Step(
                index=place,
                substep=0,
                total=len(self.timesteps),
                timestep=time,
                alpha_bar=self.alpha_bar(timestep),
                input_scale=self._scaled(timestep),
                noise_scale=self._noise.level(timestep).noise_scale,
                latents=own,
                guidance_scale=self._scale,
                prompt=self._said(prompt, _steered(prompt, texts, done)),
                empty=self._said(empty, _steered(replace(empty, role="negative"), texts, done)),
                negative=None,
                predict=predictor,
            )
            attention.judge(step.prompt.embeds, seen=self._call.seen)
            watching = tuple(record for record in trajectory if record.guard.watches)
            yield _Pass(step, predictor, attention, steering[0] if steering else None, watching)

    def _records(self, stage: Stage) -> list[Record]:
        return [Record(guard, self._call) for guard in self._guards if guard.stage is stage]

    def _as_noise(self, output: Tensor, latents: Tensor, timestep: int) -> Tensor:
        return self._noise.as_noise(output, latents, torch.tensor(timestep, device=latents.device))

    @property
    def _flows(self) -> bool:
        return isinstance(self._noise, Flow)

    def _scaled(self, timestep: int) -> float:
        """c, by which the pipeline's own x_t is variance-preserving; of diffusion the attacker's already is."""
        return self._noise.level(timestep).input_scale if self._flows else 1.0

    def _said(self, prompt: PromptEmbeds, states: Tensor) -> Condition:
        """All that the denoiser is told of a prompt whose states became ``states``, as ``TextSeam`` would have it."""
        if self._family.pooled is None:
            return Condition(states)
        vectors = self._family.beside(self._pipe, prompt.embeds, prompt.token_ids)
        changed = (states.detach() != prompt.embeds.detach()).flatten(1).any(1)[:, None]
        empty = self._call.encode([""]).extra
        return Condition(states, {name: torch.where(changed, empty[name], own) for name, own in vectors.items()})


def _timesteps(scheduler: Any, steps: int, device: torch.device) -> tuple[int, ...]:
    """Whole ones of a picture's schedule; the first of a flow's, where x_t is all noise, is taken for the one below."""
    if Flow.fits(scheduler):
        own = regression_of(scheduler, device).times(steps)
    else:
        made = type(scheduler).from_config(scheduler.config)
        made.set_timesteps(steps)
        own = made.timesteps
    last = scheduler.config.num_train_timesteps - 1
    return tuple(dict.fromkeys(min(round(float(time)), last) for time in own))


def _steered(prompt: PromptEmbeds, records: Sequence[Record], done: float) -> Tensor:
    """The states to denoise with after that share of the schedule, through every text guard."""
    share = torch.full((len(prompt.embeds),), done, device=prompt.embeds.device)
    return TextChain(records, prompt).at(share)[0]


@contextmanager
def _attention_by(backend: SDPBackend | None) -> Iterator[None]:
    if backend is None:
        yield
        return
    with sdpa_kernel(backend):
        yield
