"""Trajectory guards act at ``scheduler.step``: their prediction takes the place of the one that arrives there.

The denoiser's proxy notes each call. Under a guard that steers it answers with ones, and whatever the pipeline makes
of these (guidance in one batch or two calls, norms, signs) is thrown away; the scheduler's proxy asks the guard,
which sees x_t as the scheduler does, and hands on its prediction. Without one, the call goes through at once, and
monitors look at what the pipeline made of it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import GuardBypassed, UnsupportedPipeline
from ...types import Condition, Guided, Step
from ..attach.guard_record import Record
from ..attach.guarded_class import Proxy, unwrapped
from ..attach.watching import WatchSeam
from ..families.base import Family, Pass, plain
from ..model.encoding import Encoding
from ..noise import process_of
from ..noise.base import Level, NoiseProcess
from ..noise.schedule import Schedule
from ..proof import caches
from ..proof.tripwire import opened
from .attention import AttentionSeam
from .prediction import Predictor
from .text import TextSeam


@dataclass(frozen=True)
class _Noted:
    """One call of a denoiser since the scheduler's last step: which, with what, whose rows are where, what it said."""

    denoiser: Any
    roles: Mapping[str, Pass]
    answer: Any


class StepSeam:
    """Stand-ins for denoisers and scheduler during one call; counts what passes through them.

    ``record`` is of the guard that steers, if one does.
    """

    def __init__(
        self,
        pipe: Any,
        family: Family,
        call: Encoding,
        record: Record | None,
        text: TextSeam,
        attention: AttentionSeam,
        watch: WatchSeam,
    ) -> None:
        self.pipe, self.family, self.call = pipe, family, call
        self.record, self.text, self.attention, self.watch = record, text, attention, watch
        self.guarded = record is not None or bool(watch.records)
        chosen = any(call.arguments.get(name) is not None for name in ("timesteps", "sigmas"))
        self.schedule = Schedule(chosen=chosen)
        self.passes = 0
        self.batch = 0
        self._ran: list[Any] = []
        self._noted: list[_Noted] = []

    @property
    def ran(self) -> list[str]:
        """The names of the denoisers that made the picture."""
        return [name for name in self.family.denoisers if any(unwrapped(self.pipe, name) is one for one in self._ran)]

    def denoiser(self, original: Any) -> Any:
        """Stands where the pipeline reads a denoiser; nothing stands for nothing."""
        return None if original is None else Proxy(original, call=functools.partial(self._denoise, original))

    def scheduler(self, original: Any) -> Proxy:
        """Stands where the pipeline reads its scheduler."""

        @functools.wraps(original.step)  # the pipeline looks for eta and generator in its signature
        def step(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
            noted, self._noted = self._noted, []
            if not noted:
                raise GuardBypassed("the scheduler stepped with a prediction that did not come through the guard.")
            place = self.schedule.visit(unwrapped(self.pipe, "scheduler"), float(timestep))
            if self.guarded:
                due, predictor = self._see(noted, original, timestep, plain(sample), place)
                if self.record is None:
                    model_output = self._watched(due, predictor, original, noted, model_output)
                else:
                    model_output, moved = self._guide(self.record, due, predictor, original, model_output.dtype)
                    sample = sample if moved is None else moved
            return original.step(model_output, timestep, sample, *args, **kwargs)

        return Proxy(original, step=step)

    def finish(self) -> None:
        """Raise where the call ended without a guarded step, or in one that a monitor does not let pass."""
        if self.passes == 0:
            raise GuardBypassed(
                "no denoising step was taken, so no guard acted: raise strength or num_inference_steps."
            )
        if self._noted:
            raise GuardBypassed("the last guarded prediction was never used.")
        self.watch.finish()

    def _denoise(self, denoiser: Any, *args: Any, **kwargs: Any) -> Any:
        one = self.family.bind(denoiser, args, kwargs)
        self.family.check_inputs(one.inputs)
        pictures = self.text.pictures * self.family.copies(self.call.arguments)
        if not pictures:
            raise UnsupportedPipeline(
                "the pipeline encoded no prompt (prompt_embeds were passed in?), so nobody knows which of the "
                "denoiser's rows are the prompt's: pass prompt, and negative_prompt."
            )
        roles = self.family.roles(one, pictures, len(self._noted))
        done, _ = self.schedule.share(unwrapped(self.pipe, "scheduler"), self.family.time(one, denoiser))
        self.text.read(one, tuple(roles), done)
        if not any(denoiser is known for known in self._ran):
            self._ran.append(denoiser)
        if "prompt" in roles:
            self.attention.judge(one.inputs[self.family.conditions[0]], roles["prompt"].rows, self.call.seen)
        answer = (self.family.blank(one, denoiser),) if self.record else self._forward(denoiser, one)
        self._noted.append(_Noted(denoiser, roles, answer))
        self.batch, self.passes = max(self.batch, pictures), self.passes + (len(self._noted) == 1)
        return answer

    def _see(
        self, noted: list[_Noted], scheduler: Any, timestep: Any, latents: Tensor, place: tuple[int, int, int]
    ) -> tuple[Step, Predictor]:
        """The step that is due, as a guard sees it."""
        roles = {role: one for note in noted for role, one in note.roles.items()}
        denoiser, scale = noted[0].denoiser, getattr(scheduler, "scale_model_input", None)
        predictor = Predictor(
            forward=functools.partial(self._predict, denoiser),
            scale=functools.partial(scale, timestep=timestep) if scale else _as_it_is,
            family=self.family,
            shown=roles["prompt"],
        )
        prompt, empty, negative = self._conditions(roles)
        level = process_of(scheduler).level(timestep)
        step = Step(
            index=place[0],
            substep=place[1],
            total=place[2],
            timestep=timestep,
            alpha_bar=level.alpha_bar,
            input_scale=level.input_scale,
            noise_scale=level.noise_scale,
            latents=latents,
            guidance_scale=self.family.scale(self.pipe, self.call.arguments, roles, float(timestep)),
            prompt=prompt,
            empty=empty,
            negative=negative,
            predict=predictor,
            done=self.schedule.share(scheduler, float(timestep))[1],
        )
        self._check_guided(step)
        return step, predictor

    def _check_guided(self, step: Step) -> None:
        """A call may ask for guidance and still take steps without it: truncated, cut off by a callback, scaled by 1.

        Raises:
            UnsupportedPipeline: it does, and nobody has measured what a guard that steers does there.
        """
        if self.record is not None and step.guidance_scale == 1.0 and not self.family.unguided:
            raise UnsupportedPipeline(
                f"step {step.index + 1} of {step.total} is taken without guidance, and what the guard "
                f"{self.record.guard.name!r} does there was never measured: {self.family.guidance}, in every step "
                "(no truncation, no callback that ends it), or use a guard of another stage."
            )

    def _guide(
        self, record: Record, step: Step, predictor: Predictor, scheduler: Any, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor | None]:
        """The prediction for the scheduler, and x_t where the guard moved it."""
        guided = self._over(step, predictor, _steered_by(record, step), scheduler)
        noise, own = guided.noise.detach(), predictor.made.get(id(step.prompt))
        if own is not None:
            noise = self._finished(step, noise, own)
        stood = guided.latents is step.latents
        return noise.to(dtype), None if stood else guided.latents.detach().to(step.latents.dtype)

    def _watched(self, step: Step, predictor: Predictor, scheduler: Any, noted: list[_Noted], given: Tensor) -> Tensor:
        """The pipeline's own prediction, but where a monitor drew something else."""
        nobody = torch.zeros(len(step.latents), dtype=torch.bool, device=step.latents.device)
        guided = self._over(step, predictor, Guided(given, step.latents, nobody), scheduler)
        if guided.noise is given:
            return given
        finished = self._finished(step, guided.noise.detach(), self._own(step, noted))
        acted = guided.acted.view(-1, *[1] * (given.ndim - 1))
        return torch.where(acted, finished, given).to(given.dtype)

    def _over(self, step: Step, predictor: Predictor, guided: Guided, scheduler: Any) -> Guided:
        return self.watch.over(step, guided, lambda seen: clean(process_of(scheduler), step, predictor, seen))

    def _finished(self, step: Step, noise: Tensor, own: Tensor) -> Tensor:
        if step.guidance_scale == 1.0:
            return noise
        return self.family.finish(self.pipe, self.call.arguments, noise, own)

    def _own(self, step: Step, noted: list[_Noted]) -> Tensor:
        """The prediction for the prompt alone."""
        (note,) = (note for note in noted if "prompt" in note.roles)
        outputs = self.family.outputs(note.answer, step.latents, len(note.roles))
        return dict(zip(note.roles, outputs, strict=True))["prompt"]

    def _conditions(self, roles: Mapping[str, Pass]) -> tuple[Condition, Condition, Condition | None]:
        """(prompt, empty, negative). Where the caller gave no negative prompt, that half *is* the empty prompt.

        Unless a callback made something else of it: a guard that falls back to it would draw that.
        """
        prompt = self.family.condition(roles["prompt"])
        if "negative" not in roles:
            return prompt, self.call.encode([""]), None
        negative = self.family.condition(roles["negative"])
        untouched = self.text.gave("negative", negative.embeds)
        if (untouched and not self.call.negative_given) or _alike(negative.embeds, self.call.encode([""]).embeds):
            return prompt, negative, None
        return prompt, self.call.encode([""]), negative

    def _predict(self, denoiser: Any, one: Pass) -> Any:
        with caches.left_out(denoiser):
            return self._forward(denoiser, one)

    def _forward(self, denoiser: Any, one: Pass) -> Any:
        with opened(denoiser), self.attention.watched(denoiser, one):
            output = self.family.run(denoiser, one)
        self.attention.check(output[0])
        return output


def _steered_by(record: Record, step: Step) -> Guided:
    with record.blame():
        guided: Guided = record.guard.on_step(step, record.state)
    record.check("the guided prediction", guided.noise, step.latents.shape)
    record.check("x_t", guided.latents, step.latents.shape)
    record.note(guided.acted, guided.scores)
    return guided


def clean(process: NoiseProcess, step: Step, predictor: Predictor, guided: Guided) -> Tensor:
    """x_0 as a prediction has it, in float32, and as a map of the picture: what monitors look at."""
    level = Level(step.alpha_bar, step.input_scale, step.noise_scale)
    return predictor.family.mapped(process.predicted(level, guided.latents, guided.noise), predictor.shown)


def _as_it_is(latents: Tensor) -> Tensor:
    return latents


def _alike(states: Any, empty: Any) -> bool:
    """Whether states are the empty prompt's, but for the rounding of another batch."""
    if not isinstance(states, Tensor) or states.shape[1:] != empty.shape[1:]:
        return False
    return torch.allclose(states, empty, rtol=1e-2, atol=1e-3)
