"""What every registered guard must hold, on a small real pipeline."""

from __future__ import annotations

import pytest
import torch

import tiny
from closeness import near, same_bits
from stanchion import AlreadyAttached, load_guard, registry
from stanchion.guards.stack import GuardStack

NAMES = registry.names("guards")
UNSAFE, BENIGN = "a photo of a knife", "a photo of a cat"

every_guard = pytest.mark.parametrize("name", NAMES)

CHANGES = {  # of a benign picture's pixels in [0, 1], in the mean: half as much again as is measured; a seed is 0.15
    "esd": 0.012,
    "forceforget": 0.006,
    "monitor": 0.04,
    "negative_prompt": 0.035,
    "patronus_hardening": 0.01,
    "patronus_moderator": 0.13,  # of random weights, whose latents of all prompts are nearly alike
    "picture_check": 0.0,
    "safree": 0.08,
    "sld": 0.045,
    "steerdiff": 0.0,
    "trasce": 0.04,
    "uce": 0.003,
    "weights_file": 0.003,
}


@every_guard
def test_a_guard_does_something_and_reports_it(name, pipe):
    plain = tiny.draw(pipe, [UNSAFE, BENIGN])
    with tiny.guard(name).attach(pipe) as attachment:
        assert not near(tiny.draw(pipe, [UNSAFE, BENIGN]), plain)
        (report,) = attachment.last.guards
    assert report.guard == name
    assert report.stage == registry.entries("guards")[name].folder
    assert report.acted[0] and len(report.acted) == 2


@every_guard
def test_detaching_is_bit_identical(name, pipe):
    stock, state = type(pipe), {key: id(value) for key, value in vars(pipe).items()}
    weights = {key: value.clone() for key, value in pipe.unet.state_dict().items()}
    plain = tiny.draw(pipe, [UNSAFE, BENIGN])
    attachment = tiny.guard(name).attach(pipe)
    tiny.draw(pipe, [UNSAFE, BENIGN])
    attachment.detach()
    attachment.detach()
    assert type(pipe) is stock
    assert state.items() <= {key: id(value) for key, value in vars(pipe).items()}.items()
    assert not pipe.unet._forward_pre_hooks and not pipe.vae.decoder._forward_pre_hooks
    assert not any(module._forward_hooks for module in pipe.unet.modules())
    assert all(parameter.requires_grad for parameter in pipe.unet.parameters())
    assert all(same_bits(value, weights[key]) for key, value in pipe.unet.state_dict().items())
    assert same_bits(tiny.draw(pipe, [UNSAFE, BENIGN]), plain)


@every_guard
def test_attaching_twice_raises(name, pipe):
    with tiny.guard(name).attach(pipe), pytest.raises(AlreadyAttached, match="GuardStack"):
        tiny.guard(name).attach(pipe)


@every_guard
def test_a_saved_guard_draws_the_same(name, pipe, tmp_path):
    guard = tiny.guard(name)
    guard.save(tmp_path)
    loaded = load_guard(tmp_path)
    assert loaded.concept == guard.concept and loaded.settings == guard.settings
    pictures = []
    for each in (guard, loaded):
        with each.attach(pipe):
            pictures.append(tiny.draw(pipe, UNSAFE, steps=2))
    assert same_bits(*pictures)


@every_guard
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_dtype_follows_the_pipeline(name, dtype):
    pipe = tiny.pipeline(dtype=dtype)
    guard = tiny.guard(name)
    output_type = "pt" if guard.stage in ("decoder", "output") else "latent"  # these hand out no latents
    with guard.attach(pipe):
        drawn = tiny.draw(pipe, UNSAFE, output_type=output_type, steps=2)
    assert drawn.dtype is dtype
    assert drawn.isfinite().all()


@every_guard
def test_a_batch_equals_singles(name, pipe):
    prompts = [UNSAFE, BENIGN, "a gun and a dog"]
    with tiny.guard(name).attach(pipe):
        together = tiny.draw(pipe, prompts, steps=2)
        alone = torch.cat([tiny.draw(pipe, prompt, seed=place, steps=2) for place, prompt in enumerate(prompts)])
    assert (together - alone).abs().max() < 1e-4


@every_guard
def test_a_benign_prompt_changes_little(name, pipe):
    plain = tiny.draw(pipe, BENIGN)
    settings = {"judge": "always_safe"} if name == "picture_check" else {}
    with tiny.guard(name, **settings).attach(pipe):
        change = (tiny.draw(pipe, BENIGN) - plain).abs().mean()
    assert change <= CHANGES[name] < (tiny.draw(pipe, BENIGN, seed=1) - plain).abs().mean()


@every_guard
def test_it_works_in_a_stack(name, pipe):
    guard = tiny.guard(name)
    with guard.attach(pipe):
        alone = tiny.draw(pipe, UNSAFE, steps=2)
    with GuardStack(guard).attach(pipe):
        assert same_bits(tiny.draw(pipe, UNSAFE, steps=2), alone)
