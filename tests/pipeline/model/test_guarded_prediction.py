"""The white-box attacker's prediction is the pipeline's, and its gradient is right."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from closeness import same_bits
from small_guards import Grey, Half
from stanchion.guards.stack import GuardStack
from stanchion.targets.deployment import Deployment
from stanchion.types import Access

STACK = "steerdiff+forceforget+trasce"
GUARDS = ["none", "esd", "uce", "steerdiff", "safree", "forceforget", "negative_prompt", "trasce", STACK]
UNSAFE, BENIGN = "a photo of a knife", "a photo of a cat"
SMOOTH = ["none", "esd", "forceforget", "negative_prompt", "trasce"]


def guarded(name: str, pipe: Any) -> Any:
    if name == "none":
        return nullcontext()
    return GuardStack(*(tiny.guard(part) for part in name.split("+"))).attach(pipe)


def white_box(pipe: Any, **options: Any) -> Any:
    return Deployment(pipe, tiny.pipeline(), **{"steps": 4, "guidance_scale": 4.0, **options}).target(Access.WHITE_BOX)


@dataclass
class Seen:
    """What one step of a picture was made of."""

    timestep: int
    latents: Tensor
    noise: Tensor
    moved: Tensor


def steps_of(pipe: Any, text: str, monkeypatch: pytest.MonkeyPatch, scale: float = 4.0) -> list[Seen]:
    """Every step of a picture, as the scheduler got to see it."""
    kind, given, seen = type(pipe.scheduler), [], []
    step, scale_input = kind.step, kind.scale_model_input

    def spy_step(self: Any, output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(Seen(int(timestep), given[-1], output, sample))
        return step(self, output, timestep, sample, *args, **kwargs)

    def spy_scale(self: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if sample.ndim == 4 and len(sample) == (2 if scale > 1 else 1):
            given.append(sample[:1])
        return scale_input(self, sample, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(kind, "step", spy_step)
        patched.setattr(kind, "scale_model_input", spy_scale)
        tiny.draw(pipe, text, guidance_scale=scale, steps=4)
    return seen


def rows(target: Any, text: str) -> tuple[Tensor, Tensor]:
    """Token ids and token embeddings of a prompt, the latter with gradient."""
    ids = target.tokenize([text])
    return ids, target.token_embeddings[ids].requires_grad_(True)


@pytest.mark.parametrize("text", [UNSAFE, BENIGN])
@pytest.mark.parametrize("name", GUARDS)
def test_it_is_what_the_pipeline_computes_at_that_step(name: str, text: str, pipe: Any, monkeypatch: Any) -> None:
    with guarded(name, pipe):
        seen = steps_of(pipe, text, monkeypatch)
        target = white_box(pipe)
        assert [step.timestep for step in seen] == list(target.timesteps)
        ids, embeds = rows(target, text)
        for step in seen:
            guided = target.predict(step.latents, step.timestep, ids=ids, token_embeds=embeds)
            assert (guided.noise - step.noise).abs().max() < 1e-4
            assert (guided.latents - step.moved).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["none", "trasce"])
def test_without_guidance_too(name: str, pipe: Any, monkeypatch: Any) -> None:
    with guarded(name, pipe):
        seen = steps_of(pipe, UNSAFE, monkeypatch, scale=1.0)[0]
        target = white_box(pipe, guidance_scale=1.0)
        guided = target.predict(seen.latents, seen.timestep, ids=target.tokenize([UNSAFE]))
        assert (guided.noise - seen.noise).abs().max() < 1e-4


@pytest.mark.parametrize("name", GUARDS)
def test_every_guard_lets_a_gradient_through(name: str, pipe: Any) -> None:
    with guarded(name, pipe):
        target = white_box(pipe)
        latents = torch.randn(2, *target.latent_shape, generator=torch.Generator().manual_seed(0))
        for text in (UNSAFE, BENIGN):
            ids, embeds = rows(target, text)
            both = ids.repeat(2, 1), embeds.repeat(2, 1, 1)
            guided = target.predict(latents, 500, ids=both[0], token_embeds=both[1])
            (gradient,) = torch.autograd.grad(guided.noise.square().sum() + guided.latents.sum(), embeds)
            assert gradient.isfinite().all()
            assert gradient[0, 1:6].abs().amax(1).min() > 0
    assert all(parameter.requires_grad for parameter in pipe.unet.parameters())
    assert all(parameter.requires_grad for parameter in pipe.text_encoder.parameters())


@pytest.mark.parametrize("name", SMOOTH)
def test_the_gradient_is_that_of_finite_differences(name: str, monkeypatch: Any) -> None:
    pipe = tiny.pipeline()
    with guarded(name, pipe):
        target = white_box(pipe)
        latents = torch.randn(1, *target.latent_shape, generator=torch.Generator().manual_seed(0))
        ids, embeds = rows(target, UNSAFE)
        direction = torch.randn(embeds.shape, generator=torch.Generator().manual_seed(1)) * embeds.std().detach()

        def loss(rows: Tensor) -> Tensor:
            guided = target.predict(latents, 300, ids=ids, token_embeds=rows)
            seen = target.predict_noise(latents, 300, ids=ids, token_embeds=rows)
            return guided.noise.square().mean() + guided.latents.square().mean() + seen.square().mean()

        (gradient,) = torch.autograd.grad(loss(embeds), embeds)
        wide = 1e-2
        with torch.no_grad():
            slope = (loss(embeds + wide * direction) - loss(embeds - wide * direction)) / (2 * wide)
        assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=2e-2)


def test_the_shift_of_x_t_has_a_gradient_of_its_own() -> None:
    pipe = tiny.pipeline()
    with tiny.guard("trasce", form="faithful", loss_scale=500.0, sigma=50.0).attach(pipe):
        target = white_box(pipe)
        latents = torch.randn(1, *target.latent_shape, generator=torch.Generator().manual_seed(0))
        ids, embeds = rows(target, UNSAFE)
        direction = torch.randn(embeds.shape, generator=torch.Generator().manual_seed(1)) * embeds.std().detach()

        def shift(rows: Tensor) -> Tensor:
            return (target.predict(latents, 300, ids=ids, token_embeds=rows).latents - latents).square().sum()

        (gradient,) = torch.autograd.grad(shift(embeds), embeds)
        with torch.no_grad():
            slope = (shift(embeds + 1e-2 * direction) - shift(embeds - 1e-2 * direction)) / 2e-2
        assert abs(float(slope)) > 1e-4
        assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=5e-2)


def test_latents_have_a_gradient_through_the_guards(pipe: Any) -> None:
    for name in ("none", "trasce"):
        with guarded(name, pipe):
            target = white_box(pipe)
            latents = torch.randn(1, *target.latent_shape).requires_grad_(True)
            guided = target.predict(latents, 300, ids=target.tokenize([UNSAFE]))
            (gradient,) = torch.autograd.grad(guided.noise.sum() + guided.latents.square().sum(), latents)
            assert gradient.abs().amax() > 0


@pytest.mark.parametrize("trigger", ["text", "noise"])
def test_a_prompt_that_is_not_flagged_has_a_gradient(trigger: str, pipe: Any) -> None:
    with tiny.guard("trasce", when="flagged", trigger=trigger, threshold=1.0).attach(pipe):
        target = white_box(pipe)
        ids, embeds = rows(target, BENIGN)
        latents = torch.randn(1, *target.latent_shape)
        closed = target.predict(latents, 999, ids=ids, token_embeds=embeds)
        (gradient,) = torch.autograd.grad(closed.noise.sum(), embeds)
    target = white_box(pipe)
    plain = target.predict(latents, 999, ids=ids, token_embeds=embeds)
    (without,) = torch.autograd.grad(plain.noise.sum(), embeds)
    assert torch.allclose(closed.noise, plain.noise, atol=1e-5) and not closed.acted.any()
    assert not torch.allclose(gradient, without)


def test_an_attention_guards_trigger_has_a_gradient(pipe: Any) -> None:
    def gradient_of(target: Any) -> tuple[torch.Tensor, torch.Tensor]:
        ids, embeds = rows(target, BENIGN)
        noise = target.predict(latents, 500, ids=ids, token_embeds=embeds).noise
        return noise.detach(), torch.autograd.grad(noise.sum(), embeds)[0]

    latents = torch.randn(1, *white_box(pipe).latent_shape, generator=torch.Generator().manual_seed(0))
    plain, without = gradient_of(white_box(pipe))
    with tiny.guard("forceforget", when="flagged", threshold=1.0).attach(pipe):
        unflagged, gradient = gradient_of(white_box(pipe))
    assert torch.allclose(unflagged, plain, atol=1e-5)
    assert not torch.allclose(gradient, without)


def test_an_unflagged_prompt_feels_steerdiffs_threshold(pipe: Any) -> None:
    with tiny.guard("steerdiff", tau=1.0).attach(pipe):
        target = white_box(pipe)
        ids, embeds = rows(target, UNSAFE)
        latents = torch.randn(1, *target.latent_shape)
        below = target.predict(latents, 500, ids=ids, token_embeds=embeds)
        (gradient,) = torch.autograd.grad(below.noise.sum(), embeds)
    target = white_box(pipe)
    plain = target.predict(latents, 500, ids=ids, token_embeds=embeds)
    (without,) = torch.autograd.grad(plain.noise.sum(), embeds)
    assert same_bits(below.noise, plain.noise)
    assert not torch.allclose(gradient, without)


def test_states_can_be_given_as_they_are(pipe: Any) -> None:
    with Half().attach(pipe):
        target = white_box(pipe)
        latents = torch.randn(1, *target.latent_shape)
        states = target.encode(target.tokenize([UNSAFE])).detach()
        given = target.predict(latents, 500, embeds=states)
        read = target.predict(latents, 500, ids=target.tokenize([UNSAFE]))
    assert torch.allclose(given.noise, read.noise, atol=1e-6)


def test_a_text_guard_that_ends_early_is_seen_to_end(pipe: Any) -> None:
    latents = torch.randn(1, 4, 8, 8)
    with Half(until=0.5).attach(pipe):
        target = white_box(pipe)
        ids = target.tokenize([UNSAFE])
        guarded_steps = [target.predict(latents, time, ids=ids).noise for time in target.timesteps]
    target = white_box(pipe)
    plain = [target.predict(latents, time, ids=ids).noise for time in target.timesteps]
    same = [same_bits(one, other) for one, other in zip(guarded_steps, plain, strict=True)]
    assert same == [False, False, True, True]


def test_without_a_trajectory_guard_the_noise_is_the_prompts(pipe: Any) -> None:
    target = white_box(pipe)
    latents, ids = torch.randn(1, *target.latent_shape), target.tokenize([UNSAFE])
    with torch.no_grad():
        expected = pipe.unet(latents, 500, encoder_hidden_states=target.encode(ids)).sample
    assert torch.allclose(target.predict_noise(latents, 500, ids=ids), expected, atol=1e-6)


def test_guidance_is_taken_out_of_a_guided_prediction(pipe: Any) -> None:
    """negative_prompt: n + s (p - n), and so e + (n - e) / s + (p - n)."""
    latents = torch.randn(1, 4, 8, 8)
    target = white_box(pipe)
    with torch.no_grad():
        e, p, n = (
            target.predict_noise(latents, 500, ids=target.tokenize([text]))
            for text in ("", UNSAFE, tiny.guard("negative_prompt").concept.text)
        )
    with tiny.guard("negative_prompt").attach(pipe):
        target = white_box(pipe)
        seen = target.predict_noise(latents, 500, ids=target.tokenize([UNSAFE]))
    assert torch.allclose(seen, e + (n - e) / 4 + (p - n), atol=1e-5)


def test_the_decoder_guard_stands_in_the_way_of_white_box_decoding(pipe: Any) -> None:
    latents = torch.randn(1, 4, 8, 8, requires_grad=True)
    plain = white_box(pipe).decode(latents)
    assert torch.autograd.grad(plain.sum(), latents)[0].abs().max() > 0
    with Grey().attach(pipe):
        assert white_box(pipe).decode(latents).abs().max() == 0


def test_a_copy_of_the_guards_prediction_follows_the_attachment(pipe: Any) -> None:
    """One deployment, guards on and off again: what it predicts follows."""
    deployment = Deployment(pipe, tiny.pipeline(), steps=4)
    target = deployment.target(Access.WHITE_BOX)
    latents, ids = torch.randn(1, *target.latent_shape), target.tokenize([UNSAFE])
    before = target.predict(latents, 500, ids=ids).noise
    with tiny.guard("negative_prompt").attach(pipe):
        during = target.predict(latents, 500, ids=ids).noise
    after = target.predict(latents, 500, ids=ids).noise
    assert same_bits(before, after) and not torch.allclose(before, during)
