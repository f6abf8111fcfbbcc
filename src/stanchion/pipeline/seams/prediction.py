"""``Step.predict``: the denoiser as a guard sees it, a function of x_t and conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...types import Condition, Guided, Step
from ..families.base import Family, Pass


@dataclass
class Predictor:
    """Predictions at one step.

    Attributes:
        forward: runs the denoiser for a pass, past its caches.
        scale: the scheduler's ``scale_model_input``; its chain rule is autograd's.
        shown: the prompt's pass, as the pipeline made it.
        made: predictions so far, by the id of their condition, detached.
    """

    forward: Callable[[Pass], Any]
    scale: Callable[[Tensor], Tensor]
    family: Family
    shown: Pass
    made: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, latents: Tensor, *conditions: Condition, rows: Tensor | None = None) -> tuple[Tensor, ...]:
        """One prediction (B, …) for each condition; ``rows`` says which pictures ``latents`` are, if not all."""
        sample, outputs = self.scale(latents), []
        for group in self._groups(conditions):
            answer = self.forward(self.family.put(self.shown, group, sample, rows))
            outputs += self.family.outputs(answer, latents, len(group))
        if rows is None:
            self.made.update((id(c), output.detach()) for c, output in zip(conditions, outputs, strict=True))
        return tuple(outputs)

    def _groups(self, conditions: tuple[Condition, ...]) -> list[list[Condition]]:
        """Neighbours that fit into one batch; long prompts passed in as embeddings may not."""
        groups: list[list[Condition]] = []
        for condition in conditions:
            if groups and self.family.fits_together(groups[-1][-1], condition):
                groups[-1].append(condition)
            else:
                groups.append([condition])
        return groups


def guided(step: Step, own: Tensor, prompt: Tensor) -> Tensor:
    """The pipeline's own guided prediction, of the negative or empty prompt's and the prompt's."""
    return prompt if step.guidance_scale == 1.0 else own + step.guidance_scale * (prompt - own)


def unsteered(step: Step, prompt: Condition | None = None) -> Tensor:
    """What the pipeline would predict at the step's x_t, at its own cost; for another prompt where one is given."""
    prompt = prompt or step.prompt
    if step.guidance_scale == 1.0:
        return step.predict(step.latents, prompt)[0]
    return guided(step, *step.predict(step.latents, step.negative or step.empty, prompt))


def stock(step: Step) -> Guided:
    """What the pipeline itself would use: nobody acted."""
    nobody = torch.zeros(len(step.latents), dtype=torch.bool, device=step.latents.device)
    return Guided(unsteered(step), step.latents, nobody)
