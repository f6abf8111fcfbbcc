"""What ComfyUI's sampler does around a node's guidance, as its sources say (comfy/samplers.py), on the tiny model.

ComfyUI is no package that installs beside the tests. What is played here is its interface: a ModelPatcher's ``clone``
and ``set_model_sampler_cfg_function``, CONDITIONING, ``calc_cond_batch``, and the arguments of a guidance function.
"""

from __future__ import annotations

import copy
import sys
from types import ModuleType
from typing import Any

import pytest
import torch

import tiny


class Model:
    """A ModelPatcher and the model in it: noise predictions of the tiny UNet at x = x_0 + sigma eps."""

    def __init__(self) -> None:
        self.pipe, self.model_options = tiny.pipeline(), {"transformer_options": {}}
        bars = self.pipe.scheduler.alphas_cumprod.flip(0)[::100]
        self.sigmas = torch.cat([((1 - bars) / bars).sqrt(), torch.zeros(1)])

    def clone(self) -> Model:
        other = copy.copy(self)
        other.model_options = copy.deepcopy(self.model_options)
        return other

    def set_model_sampler_cfg_function(self, function: Any, disable_cfg1_optimization: bool = False) -> None:
        self.model_options["sampler_cfg_function"] = function
        self.model_options["disable_cfg1_optimization"] = disable_cfg1_optimization

    def extra_conds(self, **_: Any) -> dict[str, Any]:
        return {}

    def encode(self, text: str) -> list[Any]:
        """CONDITIONING, as CLIP Text Encode gives it."""
        return [[self.pipe.encode_prompt([text], "cpu", 1, False)[0], {}]]

    @torch.no_grad()
    def denoised(self, x: torch.Tensor, sigma: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        bars = self.pipe.scheduler.alphas_cumprod
        t = int(((1 - bars) / bars).sqrt().sub(sigma[0]).abs().argmin())
        noise = self.pipe.unet(x / (1 + sigma[0] ** 2).sqrt(), t, states.expand(len(x), -1, -1)).sample
        return x - sigma[0] * noise

    def guidance(self, x: torch.Tensor, step: int, positive: list[Any], negative: list[Any], scale: float) -> Any:
        """What the sampler takes for x_0 at a step."""
        sigma = self.sigmas[step].expand(len(x))
        options = copy.copy(self.model_options)
        options["transformer_options"] = {**options["transformer_options"], "sample_sigmas": self.sigmas}
        cond, uncond = (self.denoised(x, sigma, one[0][0]) for one in (positive, negative))
        function = options.get("sampler_cfg_function")
        if function is None:
            return uncond + scale * (cond - uncond)
        args = {"cond": x - cond, "uncond": x - uncond, "cond_scale": scale, "timestep": sigma, "input": x}
        more = {
            "sigma": sigma,
            "cond_denoised": cond,
            "uncond_denoised": uncond,
            "model": self,
            "model_options": options,
        }
        return x - function({**args, **more})


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two modules of ComfyUI that the nodes import while they run."""
    helpers, samplers = ModuleType("comfy.sampler_helpers"), ModuleType("comfy.samplers")
    helpers.convert_cond = lambda cond: [{**one[1], "cross_attn": one[0]} for one in cond]  # type: ignore[attr-defined]
    samplers.encode_model_conds = lambda extra, conds, *_: conds  # type: ignore[attr-defined]
    samplers.calc_cond_batch = lambda model, conds, x, sigma, options: [  # type: ignore[attr-defined]
        model.denoised(x, sigma, cond[0]["cross_attn"]) for cond in conds
    ]
    package = ModuleType("comfy")
    package.sampler_helpers, package.samplers = helpers, samplers  # type: ignore[attr-defined]
    for module in (package, helpers, samplers):
        monkeypatch.setitem(sys.modules, module.__name__, module)
