"""The denoising loss: zero where the noise is seen as it is, and gradients for the denoiser."""

import torch

import tiny
from stanchion.attacks.weights._denoising_loss import denoising_loss
from stanchion.pipeline.model.workbench import Workbench


def _inputs(bench):
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(2, *bench.latent_shape, generator=generator)
    noise = torch.randn(2, *bench.latent_shape, generator=generator)
    return clean, torch.tensor([10, 900]), bench.encode(["a knife", ""]), noise


def test_it_is_the_error_of_the_noise_picture_by_picture():
    bench = Workbench(tiny.pipeline())
    clean, times, embeds, noise = _inputs(bench)
    alpha_bar = bench.pipe.scheduler.alphas_cumprod[times].reshape(-1, 1, 1, 1)
    x_t = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise
    with torch.no_grad():
        seen = bench.pipe.unet(x_t, times, encoder_hidden_states=embeds).sample
        loss = denoising_loss(bench, clean, times, embeds, noise)
    assert torch.allclose(loss, ((seen - noise) ** 2).flatten(1).mean(1), atol=1e-5)


def test_a_step_against_its_gradient_lowers_it():
    bench = Workbench(tiny.pipeline())
    inputs = _inputs(bench)
    optimiser = torch.optim.SGD(bench.denoiser.parameters(), lr=1e-3)
    before = denoising_loss(bench, *inputs).mean()
    before.backward()
    optimiser.step()
    with torch.no_grad():
        assert denoising_loss(bench, *inputs).mean() < before
