"""The smallest guard of each stage: what the tests of the seams attach."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from stanchion.guards.base import (
    AttentionGuard,
    DecoderGuard,
    OutputGuard,
    TextGuard,
    TrajectoryGuard,
    WeightGuard,
    across,
)
from stanchion.pipeline.model.base_weights import base_of
from stanchion.types import Checked, Decoded, Guided, Steered


class Small:
    """A concept is not the point here."""

    def __init__(self, **values: Any) -> None:
        super().__init__("weapons")
        vars(self).update(values)


class Identity(Small, TrajectoryGuard):
    """Asks for what the pipeline would have asked for, and gives what it would have got. Remembers every step."""

    name = "identity"

    def begin(self, call):
        self.steps = []

    def on_step(self, step, state):
        self.steps.append(step)
        acted = torch.zeros(len(step.latents), dtype=torch.bool)
        if step.guidance_scale == 1.0:
            return Guided(step.predict(step.latents, step.prompt)[0], step.latents, acted)
        own, p = step.predict(step.latents, step.negative or step.empty, step.prompt)
        return Guided(own + step.guidance_scale * (p - own), step.latents, acted)


class Fixed(Identity):
    """Whatever was asked, this noise and this x_t."""

    name = "fixed"
    noise: torch.Tensor | None = None
    latents: torch.Tensor | None = None

    def on_step(self, step, state):
        result = super().on_step(step, state)
        noise = result.noise if self.noise is None else self.noise.expand_as(result.noise)
        latents = result.latents if self.latents is None else self.latents.expand_as(result.latents)
        return Guided(noise, latents, ~result.acted)


class Failing(Identity):
    """Raises at a step."""

    name = "failing"
    at = 1

    def on_step(self, step, state):
        if step.index == self.at:
            raise ZeroDivisionError("on purpose")
        return super().on_step(step, state)


class Half(Small, TextGuard):
    """Halves the prompt's states, not those of the negative prompt. Remembers what it saw."""

    name = "half"
    factor = 0.5
    until = 1.0

    def begin(self, call):
        self.seen = []

    def steer(self, embeds, state):
        self.seen.append(embeds)
        acted = torch.full((len(embeds.embeds),), embeds.role == "prompt")
        states = embeds.embeds * self.factor if embeds.role == "prompt" else embeds.embeds
        return Steered(states, acted, self.until)


class Mute(Small, AttentionGuard):
    """Scales the values of cross-attention."""

    name = "mute"
    factor = 0.0
    projections = ("v",)

    def begin(self, call):
        self.layers = set()

    def project(self, layer, which, context, projected, state):
        self.layers.add((layer, which))
        return projected * self.factor


class Grey(Small, DecoderGuard):
    """Grey pictures where the latents' mean is above a limit."""

    name = "grey"
    limit = -1e9

    def decode(self, latents, decode, state):
        unsafe = latents.flatten(1).mean(1) > self.limit
        pictures = decode(latents)
        return Decoded(torch.where(across(unsafe, pictures), torch.zeros(()), pictures), unsafe)


class Veil(Small, OutputGuard):
    """White pictures in the place of those at some places of the batch. Remembers what it saw."""

    name = "veil"
    places: tuple[int, ...] = (0,)

    def begin(self, call):
        self.seen = []

    def check(self, pictures, state):
        self.seen += pictures
        acted = torch.tensor([place in self.places for place in range(len(pictures))])
        white = [Image.new("RGB", picture.size, "white") for picture in pictures]
        return Checked([white[i] if acted[i] else picture for i, picture in enumerate(pictures)], acted)


class Zero(Small, WeightGuard):
    """Sets weights to zero."""

    name = "zero"

    def __init__(self, pipe, *keys):
        parameters = {key: _parameter(pipe, key) for key in keys}
        super().__init__(base={"weights": base_of(parameters)})
        self.tensors = {key: torch.zeros_like(value) for key, value in parameters.items()}

    def weights(self):
        return self.tensors


def _parameter(pipe, key):
    module, _, path = key.partition(".")
    return getattr(pipe, module).get_parameter(path)
