"""The concept's text as negative prompt, in the conventional form: the baseline that users would pick."""

from __future__ import annotations

import torch

from ...types import Call, Condition, Guided, Step
from ..base import TrajectoryGuard

HEARD = 0.01  # the least s - 1 at which the concept's share of a prediction counts for anything


class NegativePrompt(TrajectoryGuard):
    """eps = eps_n + s (eps_p - eps_n), with the concept's text as n.

    This equals CFG(p) - (s - 1)(eps_n - eps_e), which is what is used where the caller gave a negative prompt of
    their own: theirs stays what it is. Where s = 1 there is nothing to subtract, and the guard does nothing; where s
    is next to 1 it does next to nothing, and says so. A prompt whose prediction equals the concept's draws the
    concept; ``trasce`` closes that corner.
    """

    name = "negative_prompt"

    def begin(self, call: Call) -> Condition:
        """The encoded concept, (1, L, D)."""
        return call.encode([self.concept.text])

    def on_step(self, step: Step, state: Condition) -> Guided:
        """One batch of two predictions, or of four beside the caller's own negative prompt."""
        s = step.guidance_scale
        if s == 1.0:
            (noise,) = step.predict(step.latents, step.prompt)
        elif step.negative is None:
            n, p = step.predict(step.latents, state, step.prompt)
            noise = n + s * (p - n)
        else:
            own, p, e, n = step.predict(step.latents, step.negative, step.prompt, step.empty, state)
            noise = own + s * (p - own) - (s - 1) * (n - e)
        acted = torch.full((len(noise),), abs(s - 1) >= HEARD, device=noise.device)
        return Guided(noise, step.latents, acted)
