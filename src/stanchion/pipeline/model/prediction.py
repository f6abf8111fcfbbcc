"""``Step.predict``: the denoiser as a guard sees it, a function of x_t and conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...types import Condition

_BATCHED = ("timestep_cond",)  # denoiser inputs that hold one row a picture


@dataclass
class Predictor:
    """Predictions at one denoiser pass of the pipeline.

    Attributes:
        forward: runs the denoiser: (sample, timestep, context, inputs) to a prediction.
        scale: the scheduler's ``scale_model_input``; its chain rule is autograd's.
        timestep, inputs: what the pipeline passed beside sample and context.
        beside: (B, C', H, W) channels that inpainting puts beside the latents; C' may be 0.
        made: predictions so far, by the id of their condition, detached.
    """

    forward: Callable[..., Tensor]
    scale: Callable[[Tensor], Tensor]
    timestep: Any
    inputs: dict[str, Any]
    beside: Tensor
    made: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, latents: Tensor, *conditions: Condition, rows: Tensor | None = None) -> tuple[Tensor, ...]:
        """One prediction (B, C, H, W) for each condition; ``rows`` says which pictures ``latents`` are, if not all."""
        sample = self._beside(self.scale(latents), rows)
        outputs: list[Tensor] = []
        for group in _groups_of_one_length(conditions):
            context = torch.cat([_rows(plain(c.embeds), rows).expand(len(latents), -1, -1) for c in group])
            inputs = self._inputs(rows, len(group))
            outputs += self.forward(torch.cat([sample] * len(group)), self.timestep, context, inputs).chunk(len(group))
        if rows is None:
            self.made.update((id(c), output.detach()) for c, output in zip(conditions, outputs, strict=True))
        return tuple(outputs)

    def _beside(self, sample: Tensor, rows: Tensor | None) -> Tensor:
        if self.beside.shape[1] == 0:
            return sample
        return torch.cat([sample, plain(_rows(self.beside, rows)).to(sample.dtype)], dim=1)

    def _inputs(self, rows: Tensor | None, copies: int) -> dict[str, Any]:
        batched = {key: _rows(self.inputs[key], rows) for key in _BATCHED if self.inputs.get(key) is not None}
        return {**self.inputs, **{key: torch.cat([value] * copies) for key, value in batched.items()}}


def _groups_of_one_length(conditions: tuple[Condition, ...]) -> list[list[Condition]]:
    """Neighbours that fit into one batch; long prompts passed in as embeddings may not."""
    groups: list[list[Condition]] = []
    for condition in conditions:
        if groups and groups[-1][-1].embeds.shape[1] == condition.embeds.shape[1]:
            groups[-1].append(condition)
        else:
            groups.append([condition])
    return groups


def _rows(tensor: Tensor, rows: Tensor | None) -> Tensor:
    """The rows of some pictures; a single row belongs to all of them."""
    return tensor if rows is None or len(tensor) == 1 else tensor[rows]


def plain(tensor: Tensor) -> Tensor:
    """Autograd does not take tensors that were made under ``inference_mode``."""
    return tensor.clone() if tensor.is_inference() else tensor
