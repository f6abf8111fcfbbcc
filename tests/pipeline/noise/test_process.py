"""Which schedulers' noise levels are read, and that they are what the scheduler makes."""

from __future__ import annotations

import diffusers
import pytest

import tiny_families
from small_guards import Identity
from stanchion import UnsupportedPipeline
from stanchion.pipeline.noise import process_of

VELOCITY = {"prediction_type": "v_prediction"}
SPACED = [{}, {"use_karras_sigmas": True}, {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", **VELOCITY}]
UNREAD = [
    ("UniPCMultistepScheduler", {"use_flow_sigmas": True}),
    ("FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}),
    ("EulerDiscreteScheduler", {"timestep_type": "continuous", "sigma_min": 0.002, "sigma_max": 120.0, **VELOCITY}),
    ("EulerDiscreteScheduler", {"interpolation_type": "log_linear"}),
    ("KarrasVeScheduler", {}),
    ("EDMEulerScheduler", {}),
]


@pytest.mark.parametrize("options", SPACED, ids=str)
def test_a_level_is_the_noise_that_the_scheduler_holds(options):
    scheduler = diffusers.EulerDiscreteScheduler(**options)
    scheduler.set_timesteps(7)
    process = process_of(scheduler)
    for timestep, sigma in zip(scheduler.timesteps, scheduler.sigmas.tolist(), strict=False):
        scheduler._step_index = None
        assert process.level(timestep).alpha_bar == pytest.approx(1 / (1 + sigma**2), rel=0.02)


@pytest.mark.parametrize(("name", "options"), UNREAD, ids=str)
def test_what_says_no_noise_level_by_its_timesteps_is_refused(name, options):
    flows = "invert_sigmas" in options or "use_flow_sigmas" in options
    pipe = tiny_families.fresh("FluxPipeline" if flows else "StableDiffusionXLPipeline")
    pipe.scheduler = getattr(diffusers, name)(**options)
    with Identity().attach(pipe), pytest.raises(UnsupportedPipeline, match=name):
        tiny_families.draw(pipe)


OTHER = [
    ("StableDiffusionXLPipeline", "FlowMatchEulerDiscreteScheduler", "DDIMScheduler"),
    ("PixArtSigmaPipeline", "FlowMatchEulerDiscreteScheduler", "DDIMScheduler"),
    ("StableDiffusion3Pipeline", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"),
    ("SanaPipeline", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"),
    ("ZImagePipeline", "DPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler"),
]


@pytest.mark.parametrize(("kind", "name", "instead"), OTHER, ids=str)
def test_a_scheduler_of_another_process_is_refused(kind, name, instead):
    """The pipelines of flows do not scale x_t for the denoiser, as Euler's diffusion asks for."""
    pipe = tiny_families.fresh(kind)
    pipe.scheduler = getattr(diffusers, name)()
    with Identity().attach(pipe), pytest.raises(UnsupportedPipeline, match=f"{name}.* use e.g. {instead}"):
        tiny_families.draw(pipe)
