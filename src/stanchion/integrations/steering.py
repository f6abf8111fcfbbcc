"""A trajectory guard that is handed its predictions, in tools where it can't ask a denoiser for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..concepts import Concept
from ..errors import ConfigError, GuardFailed
from ..guards.loading import load_guard
from ..guards.sayings import Sayings
from ..guards.trajectory import sld, trasce
from ..types import Condition, Step

GUARDS = ("negative_prompt", "sld", "trasce")  # those that need no gradient: TraSCE without its loss
ALONE = {"form": "faithful", "localized": False, "when": "always"}  # TraSCE with none to ask
NOTHING = torch.zeros(0, 1, 1)
OWN, PROMPT, CONCEPT = (Condition(NOTHING) for _ in range(3))  # stand for what the tool has encoded


class Steering:
    """``negative_prompt``, ``sld`` or ``trasce`` by its own arithmetic, on three predictions of one x_t.

    ``own`` is the prediction of whatever fills the unconditional half: a negative prompt of the caller's can't be told
    from the empty one. So ``negative_prompt`` puts the concept in its place, and the other two take it for the empty
    prompt. A prompt that repeats the concept is not heard as such (``guards/sayings.py``).

    Args:
        guard: its name.
        settings: the guard's. TraSCE acts always, without its loss.

    Raises:
        ConfigError: another guard, or settings for which predictions alone are not enough.
    """

    def __init__(self, guard: str, concept: str | Concept, **settings: Any) -> None:
        if guard not in GUARDS:
            raise ConfigError(f"guard {guard!r} can't be steered with predictions alone; take {', '.join(GUARDS)}.")
        if guard == "trasce":
            if any(settings.get(key, value) != value for key, value in ALONE.items()):
                raise ConfigError("trasce: its loss and its trigger ask the denoiser and the text encoder; attach it.")
            settings = {**settings, **ALONE}
        self.guard: Any = load_guard(guard, concept, **settings)

    def begin(self) -> Any:
        """The state of one picture, or of one batch of them."""
        if self.guard.name == "sld":
            return sld.State(CONCEPT)
        return trasce.State(Sayings(CONCEPT, NOTHING, NOTHING), None) if self.guard.name == "trasce" else CONCEPT

    @torch.no_grad()
    def noise(
        self, state: Any, own: Tensor, prompt: Tensor, concept: Tensor, *, index: int, total: int, scale: float
    ) -> Tensor:
        """The prediction to use, (B, …), of three (B, …) predictions of noise.

        Args:
            index, total: which step of how many.
            scale: guidance scale s.

        Raises:
            GuardFailed: predictions of different shapes, or a result that is not finite.
        """
        if not own.shape == prompt.shape == concept.shape:
            raise GuardFailed(f"predictions of {own.shape}, {prompt.shape} and {concept.shape} can't be compared.")
        given = {id(OWN): own, id(PROMPT): prompt, id(CONCEPT): concept}
        step = Step(
            index=index,
            substep=0,
            total=total,
            timestep=torch.tensor(0),
            alpha_bar=0.0,
            input_scale=1.0,
            noise_scale=1.0,
            latents=prompt,
            guidance_scale=scale,
            prompt=PROMPT,
            empty=OWN,
            negative=None,
            predict=lambda _, *conditions: tuple(given[id(one)] for one in conditions),
        )
        noise: Tensor = self.guard.on_step(step, state).noise
        if not noise.isfinite().all():
            raise GuardFailed(f"{self.guard.name} gave a prediction that is not finite.")
        return noise
