"""The attachment: what the user holds stays what it was, except that every call is guarded."""

from __future__ import annotations

import inspect
import threading

import diffusers
import pytest
import torch

import tiny
from closeness import near, same_bits
from small_guards import Failing, Fixed, Grey, Half, Identity, Mute
from stanchion import ConfigError, GuardBypassed, GuardFailed, GuardStack, TraSCE, UnsupportedPipeline, load_guard


def test_the_pipeline_keeps_its_face(pipe, tmp_path):
    stock = type(pipe)
    with TraSCE(tiny.weapons()).attach(pipe):
        assert isinstance(pipe, stock) and type(pipe).__name__ == stock.__name__
        assert inspect.signature(pipe.__call__) == inspect.signature(stock(**tiny.parts()).__call__)
        output = pipe("a cat", num_inference_steps=2)
        assert type(output).__name__ == "StableDiffusionPipelineOutput"
        assert type(pipe("a cat", num_inference_steps=2, return_dict=False)) is tuple
        assert pipe.components.keys() == tiny.pipeline().components.keys()


def test_a_report_says_what_was_done(pipe):
    with GuardStack(Half(), TraSCE(tiny.weapons(), when="always")).attach(pipe) as attachment:
        assert attachment.last is None
        tiny.draw(pipe, ["a knife", "a cat"], steps=4)
        report = attachment.last
    assert [guard.stage for guard in report.guards] == ["text", "trajectory"]
    assert (report.steps, report.total, report.acted) == (4, 4, (True, True))
    distances = report.guards[1].scores["distance"]
    assert len(distances) == 4 and all(len(row) == 2 for row in distances)


def test_the_stack_sorts_and_refuses_two_trajectories(pipe):
    stack = GuardStack(Grey(), TraSCE(tiny.weapons()), Mute(), Half())
    assert stack.name == "half+mute+trasce+grey"
    with pytest.raises(ConfigError, match="both steer"):
        GuardStack(TraSCE(tiny.weapons()), Identity())
    with pytest.raises(ConfigError, match="at least one"):
        GuardStack()


def test_a_saved_stack_draws_the_same(pipe, tmp_path):
    stack = GuardStack(TraSCE(tiny.weapons(), lazy_tol=1e-3))
    stack.save(tmp_path)
    loaded = load_guard(tmp_path)
    assert isinstance(loaded, GuardStack) and loaded.guards[0].settings == stack.guards[0].settings


def test_a_failure_reports_nothing_and_the_next_call_works(pipe):
    guard = Failing()
    with guard.attach(pipe) as attachment:
        with pytest.raises(GuardFailed):
            tiny.draw(pipe, steps=4)
        guard.at = 99
        tiny.draw(pipe, steps=4)
        assert attachment.last.steps == 4


def test_calls_of_one_pipeline_wait_for_each_other(pipe):
    prompts = ["a knife", "a cat", "a gun", "a dog"]
    with TraSCE(tiny.weapons()).attach(pipe):
        alone = [tiny.draw(pipe, prompt) for prompt in prompts]
        results = _in_threads([(pipe, prompt) for prompt in prompts])
    assert all(same_bits(a, b) for a, b in zip(alone, results, strict=True))


def test_threads_share_a_guard(pipe):
    guard, pipes = TraSCE(tiny.weapons(), lazy_tol=1e-3), [pipe, tiny.pipeline(seed=1)]
    with guard.attach(pipes[0]), guard.attach(pipes[1]):
        alone = [tiny.draw(each, "a knife") for each in pipes]
        results = _in_threads([(each, "a knife") for each in pipes * 2])
    assert all(same_bits(a, b) for a, b in zip(alone * 2, results, strict=True))


def _in_threads(jobs):
    results = [None] * len(jobs)

    def work(place, job):
        results[place] = tiny.draw(*job)

    threads = [threading.Thread(target=work, args=(place, job)) for place, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_siblings_with_guards_of_their_own_share_modules(pipe):
    sibling = diffusers.StableDiffusionPipeline(**pipe.components, requires_safety_checker=False)
    sibling.set_progress_bar_config(disable=True)
    plain = tiny.draw(pipe)
    with Identity().attach(pipe), Fixed(latents=torch.zeros(1, 4, 8, 8)).attach(sibling):
        assert same_bits(tiny.draw(pipe), plain)
        assert not near(tiny.draw(sibling), plain)


def test_a_call_inside_the_call_is_refused(pipe):
    def again(pipeline, index, timestep, values):
        pipeline("a knife", num_inference_steps=1)

    with Identity().attach(pipe), pytest.raises(GuardBypassed, match="inside its own call"):
        tiny.draw(pipe, callback_on_step_end=again)


def test_the_guards_stay_on_while_it_draws(pipe):
    attachment = Identity().attach(pipe)

    def detach(pipeline, index, timestep, values):
        attachment.detach()

    with pytest.raises(GuardBypassed, match="taken off while"):
        tiny.draw(pipe, callback_on_step_end=detach)
    attachment.detach()


def test_assert_active_says_what_is_wrong(pipe):
    attachment = Identity().attach(pipe)
    attachment.assert_active()
    pipe.unet._forward_pre_hooks.clear()
    with pytest.raises(GuardBypassed, match="hook"):
        attachment.assert_active()
    attachment.detach()
    with pytest.raises(GuardBypassed, match="detached"):
        attachment.assert_active()


def test_a_pipeline_that_no_family_knows_is_refused():
    with pytest.raises(UnsupportedPipeline, match=r"Supported are .*StableDiffusionPipeline.*To add a family"):
        TraSCE(tiny.weapons()).attach(diffusers.DDPMPipeline(None, None))
