"""Pipelines that share modules: one at a time, whoever calls, and each call has its own report."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial

import diffusers
import pytest

import tiny
from closeness import near, same_bits
from small_guards import Grey, Half, Identity, Mute
from stanchion import GuardBypassed, GuardStack, TraSCE
from stanchion.pipeline.attach.turns import turn


def _sibling(pipe):
    sibling = diffusers.StableDiffusionPipeline(**pipe.components, requires_safety_checker=False)
    sibling.set_progress_bar_config(disable=True)
    return sibling


def _in_threads(works):
    results = [None] * len(works)

    def keep(place, work):
        results[place] = work()

    threads = [threading.Thread(target=keep, args=one) for one in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("stage", ["attention", "text", "decoder"])
def test_siblings_with_different_guards_draw_at_once_what_each_draws_alone(stage, pipe):
    pipes = [pipe, _sibling(pipe)]
    guards = {
        "attention": (Mute(factor=0.5), Mute()),
        "text": (Mute(), Half()),
        "decoder": (GuardStack(Mute(), Grey(limit=1e9)), Grey()),
    }
    first, second = guards[stage]
    with first.attach(pipes[0]), second.attach(pipes[1]):
        alone = [tiny.draw(one, "a knife") for one in pipes]
        drawn = _in_threads([lambda one=one: tiny.draw(one, "a knife") for one in pipes * 2])
    assert not near(*alone)
    assert all(same_bits(a, b) for a, b in zip(alone * 2, drawn, strict=True))


def test_a_sibling_called_in_a_callback_is_refused(pipe):
    sibling = _sibling(pipe)
    with Mute().attach(pipe), Identity().attach(sibling), pytest.raises(GuardBypassed, match="the same modules"):
        tiny.draw(pipe, callback_on_step_end=lambda *_: sibling("a cat", num_inference_steps=1))


def test_a_guard_is_not_put_on_in_the_middle_of_a_siblings_call(pipe):
    sibling = _sibling(pipe)
    with Identity().attach(pipe), pytest.raises(GuardBypassed, match="can't be put on"):
        tiny.draw(pipe, callback_on_step_end=lambda *_: Mute().attach(sibling))


def test_other_pipelines_may_be_called_in_a_callback(pipe):
    other = tiny.pipeline(seed=1)
    with Identity().attach(pipe), Identity().attach(other):
        expected = tiny.draw(other)
        drawn = []
        tiny.draw(pipe, callback_on_step_end=lambda *_: drawn.append(tiny.draw(other)) or {})
    assert all(same_bits(one, expected) for one in drawn)


def test_who_raises_leaves_the_turn_to_others():
    class Shared:
        pass

    shared = Shared()
    with pytest.raises(ZeroDivisionError), turn([shared, None], "never"):
        with pytest.raises(GuardBypassed, match="busy"), turn([shared], "busy"):
            pass
        raise ZeroDivisionError
    with turn([shared], "never"):
        pass


def test_every_call_has_its_own_report(pipe):
    prompts = [["a knife"] * (1 + place % 3) for place in range(8)]
    with TraSCE(tiny.weapons()).attach(pipe) as attachment:

        def call(prompt):
            return attachment.call(prompt, num_inference_steps=1 + len(prompt), output_type="pt")

        results = _in_threads([lambda prompt=prompt: call(prompt) for prompt in prompts])
        assert all(len(output.images) == len(report.acted) for output, report in results)
        assert [report.steps for _, report in results] == [1 + len(prompt) for prompt in prompts]
        output, report = attachment.call("a knife", num_inference_steps=2, return_dict=False)
        assert type(output) is tuple and attachment.last is report


def test_a_detached_attachment_calls_nothing(pipe):
    attachment = Identity().attach(pipe)
    attachment.detach()
    with pytest.raises(GuardBypassed, match="detached"):
        attachment.call("a cat")


def test_what_a_reader_sees(pipe):
    with GuardStack(Half(), TraSCE(tiny.weapons(), lazy_tol=0.1)).attach(pipe) as attachment:
        assert repr(attachment) == "<Attachment of half+trasce on StableDiffusionPipeline>"
        assert [repr(guard) for guard in attachment.guards] == ["Half('weapons')", "TraSCE('weapons', lazy_tol=0.1)"]
        assert repr(GuardStack(*attachment.guards)) == "GuardStack(Half('weapons'), TraSCE('weapons', lazy_tol=0.1))"
        _, report = attachment.call(["a knife", "a cat"], num_inference_steps=2)
    assert repr(attachment).endswith(", detached>")
    assert repr(report.guards[0]) == "<half (text): acted on 2 of 2, steps (1, 1)>"
    assert repr(report).startswith("<Report of 2 passes over 2 steps: <half (text)")


def test_pipelines_that_share_a_tokenizer_only_read_their_prompts_one_after_the_other():
    """A fast tokenizer sets its padding in one line and reads in the next; in between, another thread sets its own."""
    pipes = [tiny.pipeline(seed=seed) for seed in range(3)]
    assert len({id(pipe.tokenizer) for pipe in pipes}) == 1
    prompts = ["a knife", "a photo of " + "a dog and " * 9 + "a cat"]
    with ExitStack() as attached:
        for pipe in pipes:
            attached.enter_context(TraSCE(tiny.weapons(), lazy_tol=1e-3).attach(pipe))
        works = [partial(tiny.draw, pipe, prompt, num_inference_steps=1) for pipe in pipes for prompt in prompts]
        alone = [work() for work in works]
        for _ in range(3):
            assert all(same_bits(a, b) for a, b in zip(alone, _in_threads(works), strict=True))
