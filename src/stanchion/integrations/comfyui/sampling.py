"""A guard as ComfyUI's sampler calls it: in the place of its classifier-free guidance.

ComfyUI samples x = x_0 + sigma eps and hands over x - x_0 of both halves, which is sigma times the noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...concepts import Concept
from ...errors import GuardFailed
from ...guards.base import across
from ..steering import Steering

TAKEN = "sampler_cfg_function"
CONCEPT = Concept("as CONDITIONING", "unsafe", ("what the graph encodes",))  # its words are the graph's business


def guard_sampling(model: Any, concept: Any, guard: str) -> Any:
    """A clone of a ModelPatcher whose guidance is the guard's.

    Args:
        concept: CONDITIONING.

    Raises:
        GuardFailed: the model has another guidance already.
    """
    if model.model_options.get(TAKEN) is not None:
        raise GuardFailed("another node has replaced this model's guidance, and only one can; put the guard alone.")
    guarded = model.clone()
    guarded.set_model_sampler_cfg_function(_Guidance(guard, concept), disable_cfg1_optimization=True)
    return guarded


class _Guidance:
    """What the sampler calls in every pass; it begins anew where the noise has grown since the last one."""

    def __init__(self, guard: str, concept: Any) -> None:
        self._steering = Steering(guard, CONCEPT)
        self._concept = concept
        self._state: Any = None
        self._sigma = 0.0

    def __call__(self, args: Mapping[str, Any]) -> Tensor:
        """sigma eps for the sampler, which takes it from x."""
        sigma = args["sigma"].float().reshape(-1)
        if float(sigma[0]) > self._sigma or self._state is None:
            self._state = self._steering.begin()
        self._sigma = float(sigma[0])
        steps = _schedule(args)
        unit = across(sigma.clamp_min(1e-6), args["input"]).to(args["input"])
        noise = self._steering.noise(
            self._state,
            args["uncond"] / unit,
            args["cond"] / unit,
            (args["input"] - self._denoised(args)) / unit,
            index=sum(float(step) > self._sigma for step in steps),
            total=len(steps),
            scale=float(args["cond_scale"]),
        )
        return noise * unit

    def _denoised(self, args: Mapping[str, Any]) -> Tensor:
        """x_0 as the model sees it under the concept."""
        import comfy.sampler_helpers
        import comfy.samplers

        model, x = args["model"], args["input"]
        conds = comfy.sampler_helpers.convert_cond(self._concept)
        conds = comfy.samplers.encode_model_conds(model.extra_conds, conds, x, x.device, "negative")
        (denoised,) = comfy.samplers.calc_cond_batch(model, [conds], x, args["sigma"], args["model_options"])
        return denoised


def _schedule(args: Mapping[str, Any]) -> list[Any]:
    """The noise levels of this sampling, without the last, which is none."""
    sigmas = args["model_options"].get("transformer_options", {}).get("sample_sigmas")
    if sigmas is None or len(sigmas) < 2:
        raise GuardFailed("ComfyUI did not say which noise levels it samples (sample_sigmas), so no picture is made.")
    return list(sigmas[:-1])
