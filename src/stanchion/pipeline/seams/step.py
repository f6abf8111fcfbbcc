"""Trajectory guards act before the denoiser: their prediction is what the scheduler gets to see.

A guard asks for all its predictions in one batch; the result is laid out so that the stock pipeline's own guidance
arithmetic gives exactly it. Where the guard moved x_t, the scheduler steps from the moved one.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from ...errors import GuardBypassed, UnsupportedPipeline
from ...types import Condition, Step
from ..attach.guard_record import Record
from ..attach.guarded_class import StandIn, raw
from ..families import Family
from ..model.encoding import Encoding
from ..model.prediction import Predictor, plain
from ..noise.schedule import Schedule, alpha_bar, input_scale, noise_scale
from ..proof.tripwire import opened
from .attention import AttentionSeam
from .text import TextSeam


class StepSeam:
    """Stand-ins for denoiser and scheduler during one call; counts what passes through them."""

    def __init__(
        self, pipe: Any, family: Family, call: Encoding, record: Record | None, text: TextSeam, attention: AttentionSeam
    ) -> None:
        self.pipe, self.family, self.call = pipe, family, call
        self.record, self.text, self.attention = record, text, attention
        self.schedule = Schedule()
        self.passes = 0
        self.batch = 0
        self._empty: Condition | None = None
        self._unscaled: Tensor | None = None  # what the pipeline gave to scale_model_input
        self._due: list[Tensor | None] = []  # a guarded pass that the scheduler has not stepped; x_t where it moved

    def denoiser(self, original: Any) -> StandIn:
        """Stands where the pipeline reads its denoiser."""
        return StandIn(original, call=functools.partial(self._denoise, original))

    def scheduler(self, original: Any) -> StandIn:
        """Stands where the pipeline reads its scheduler."""

        @functools.wraps(original.step)  # the pipeline looks for eta and generator in its signature
        def step(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
            if len(self._due) != 1:
                raise GuardBypassed("the scheduler stepped with a prediction that did not come through the guard.")
            moved = self._due.pop()
            return original.step(model_output, timestep, sample if moved is None else moved, *args, **kwargs)

        def scale_model_input(sample: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            self._unscaled = sample
            return original.scale_model_input(sample, *args, **kwargs)

        return StandIn(original, step=step, scale_model_input=scale_model_input)

    def _denoise(
        self, denoiser: Any, sample: Tensor, timestep: Any, encoder_hidden_states: Tensor, **inputs: Any
    ) -> tuple[Tensor]:
        if inputs.pop("return_dict", True) or inputs.pop("added_cond_kwargs", None):
            raise UnsupportedPipeline("the denoiser was called in a way that this family's pipelines do not.")
        self.family.check_inputs(inputs)
        halves = self.family.halves(self.pipe)
        if len(encoder_hidden_states) != len(sample) or len(sample) % halves:
            raise GuardBypassed(f"{len(sample)} latents met {len(encoder_hidden_states)} text states at the denoiser.")
        place = self.schedule.visit(raw(self.pipe, "scheduler"), float(timestep))
        context = self.text.context(encoder_hidden_states, halves, place[0] / place[2])
        self.batch = max(self.batch, len(sample) // halves)
        self.passes += 1
        forward = functools.partial(self._forward, denoiser)
        if self.record is None:
            self._due.append(None)
            return (forward(sample, timestep, context, inputs),)
        step, predictor = self._see(forward, sample, timestep, context, inputs, place)
        return (self._guide(self.record, step, predictor),)

    def _forward(self, denoiser: Any, sample: Tensor, timestep: Any, context: Tensor, inputs: dict[str, Any]) -> Tensor:
        with opened(denoiser), self.attention.watched():
            prediction = denoiser(sample, timestep, encoder_hidden_states=context, return_dict=False, **inputs)[0]
        self.attention.check(prediction)
        return prediction

    def _see(
        self,
        forward: Any,
        sample: Tensor,
        timestep: Any,
        context: Tensor,
        inputs: dict[str, Any],
        place: tuple[int, int, int],
    ) -> tuple[Step, Predictor]:
        """The denoiser pass that is due, as a guard sees it."""
        scheduler = raw(self.pipe, "scheduler")
        halves = self.family.halves(self.pipe)
        batch = len(sample) // halves
        latents = plain(sample if self._unscaled is None else self._unscaled)[:batch]
        self._unscaled = None
        predictor = Predictor(
            forward=forward,
            scale=functools.partial(scheduler.scale_model_input, timestep=timestep),
            timestep=timestep,
            inputs=inputs,
            beside=sample[-batch:, latents.shape[1] :],
        )
        prompt, empty, negative = self._conditions(context, halves)
        share = alpha_bar(scheduler, float(timestep))
        step = Step(
            index=place[0],
            substep=place[1],
            total=place[2],
            timestep=timestep,
            alpha_bar=share,
            input_scale=input_scale(scheduler, timestep),
            noise_scale=noise_scale(scheduler, share),
            latents=latents,
            guidance_scale=self.family.guidance_scale(self.pipe),
            prompt=prompt,
            empty=empty,
            negative=negative,
            predict=predictor,
        )
        return step, predictor

    def _guide(self, record: Record, step: Step, predictor: Predictor) -> Tensor:
        with record.blame():
            guided = record.guard.on_step(step, record.state)
        record.check("the guided prediction", guided.noise, step.latents.shape)
        record.check("x_t", guided.latents, step.latents.shape)
        record.note(guided.acted, guided.scores)
        stood = guided.latents is step.latents
        self._due.append(None if stood else guided.latents.detach().to(step.latents.dtype))
        return self.family.lay_out(self.pipe, guided.noise.detach(), predictor.made.get(id(step.prompt)))

    def _conditions(self, context: Tensor, halves: int) -> tuple[Condition, Condition, Condition | None]:
        """(prompt, empty, negative). A negative half that encodes nothing *is* the empty prompt."""
        if self._empty is None:
            self._empty = self.call.encode([""])
        if halves == 1:
            return Condition(context), self._empty, None
        negative, prompt = context.chunk(2)
        empty = self._empty.embeds
        if negative.shape[1:] == empty.shape[1:] and torch.allclose(negative, empty, rtol=1e-2, atol=1e-3):
            return Condition(prompt), Condition(negative), None
        return Condition(prompt), self._empty, Condition(negative)

    def finish(self) -> None:
        """Raise where the call ended without a guarded step."""
        if self.passes == 0:
            raise GuardBypassed(
                "no denoising step was taken, so no guard acted: raise strength or num_inference_steps."
            )
        if self._due:
            raise GuardBypassed("the last guarded prediction was never used.")
