"""Triggers: near a concept a guard acts; far from it nothing happens, and nothing but the look costs."""

from __future__ import annotations

import pytest
import torch

import tiny
from closeness import near, same_bits
from stanchion import Concept, GuardStack, TraSCE, UnsupportedPipeline
from stanchion.guards.triggers import in_contexts, nearness

KNIFE = Concept("knife", "object", ("a knife",), anchors=("a cat", "a dog"))
CONCEPT, ANCHOR = "a photo of a knife", "a photo of a cat"
every_trigger = pytest.mark.parametrize("trigger", ["text", "noise"])


def rows_of(pipe):
    """How many rows the denoiser works on, pass by pass."""
    rows = []
    pipe.unet.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    return rows


def test_nearness_is_1_at_the_concept_and_minus_1_at_an_anchor():
    scores = nearness(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([3.0, 1.0, 0.0]))
    assert scores.tolist() == [1.0, 0.0, -1.0]


def test_an_empty_anchor_stands_alone():
    assert in_contexts(("a cat", ""))[-2:] == ["a nice picture with a cat", ""]


@every_trigger
def test_a_trigger_tells_the_concept_from_an_anchor(trigger, pipe):
    prompts = {"text": [CONCEPT, ANCHOR], "noise": ["a knife", "a cat"]}[trigger]
    with TraSCE(KNIFE, when="flagged", trigger=trigger).attach(pipe) as attachment:
        tiny.draw(pipe, prompts, steps=4)
        report = attachment.last.guards[0]
    concept, anchor = report.scores["trigger"][-1]
    assert concept == pytest.approx(1.0, abs=0.1) and anchor < 0  # 1 but for what roots make of roundings
    assert report.acted == (True, False) and report.active_steps == (4, 0)


@every_trigger
def test_what_is_not_flagged_is_drawn_as_the_pipeline_draws_it(trigger, pipe):
    options = {"negative_prompt": "blurry"}
    plain = [tiny.draw(pipe, ANCHOR), tiny.draw(pipe, ANCHOR, guidance_scale=1.0), tiny.draw(pipe, ANCHOR, **options)]
    with TraSCE(KNIFE, when="flagged", trigger=trigger, threshold=1.0).attach(pipe) as attachment:
        assert same_bits(tiny.draw(pipe, ANCHOR), plain[0])
        assert same_bits(tiny.draw(pipe, ANCHOR, guidance_scale=1.0), plain[1])
        assert same_bits(tiny.draw(pipe, ANCHOR, **options), plain[2])
        assert attachment.last.acted == (False,)


def test_what_is_not_flagged_costs_what_the_pipeline_costs(pipe):
    rows = rows_of(pipe)
    with TraSCE(KNIFE, when="flagged").attach(pipe):
        tiny.draw(pipe, ANCHOR, steps=4)
        tiny.draw(pipe, ANCHOR, guidance_scale=1.0, steps=4)
    assert rows == [2, 2, 2, 2, 1, 1, 1, 1]


def test_the_noise_score_looks_in_the_first_steps_only(pipe):
    rows = rows_of(pipe)
    with TraSCE(KNIFE, when="flagged", trigger="noise", looks=2, threshold=1.0).attach(pipe):
        tiny.draw(pipe, ANCHOR, steps=4)
    assert rows == [5, 2, 5, 2, 2, 2]  # a look: the prompt, one target, three anchors


@every_trigger
def test_a_flag_changes_nothing_of_the_method(trigger, pipe):
    pictures = []
    for settings in ({"when": "always"}, {"when": "flagged", "trigger": trigger, "threshold": -1.0}):
        with TraSCE(KNIFE, form="faithful", **settings).attach(pipe):
            pictures.append(tiny.draw(pipe, [CONCEPT, ANCHOR]))
    assert same_bits(*pictures)


@every_trigger
def test_a_batch_that_is_near_and_far_equals_singles(trigger, pipe):
    prompts = ["a knife", "a cat"]
    with TraSCE(KNIFE, when="flagged", trigger=trigger, lazy_tol=1e-3).attach(pipe):
        together = tiny.draw(pipe, prompts)
        alone = torch.cat([tiny.draw(pipe, prompt, seed=place) for place, prompt in enumerate(prompts)])
    assert (together - alone).abs().max() < 1e-4


@every_trigger
def test_a_prompt_that_a_callback_puts_in_is_judged_anew(trigger, pipe):
    knife = pipe.encode_prompt("a knife", "cpu", 1, True)

    def swap(pipeline, index, timestep, values):
        return {"prompt_embeds": torch.cat([knife[1], knife[0]])} if index == 1 else values

    options = {"callback_on_step_end": swap, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    with TraSCE(KNIFE, when="flagged", trigger=trigger).attach(pipe) as attachment:
        tiny.draw(pipe, "a cat", steps=6, **options)
        assert attachment.last.guards[0].active_steps == (4,)


def test_a_concept_without_anchors_is_held_against_the_empty_prompt(pipe):
    with TraSCE(Concept("knife", "object", ("a knife",)), when="flagged").attach(pipe) as attachment:
        tiny.draw(pipe, [CONCEPT, ""])
        assert attachment.last.acted == (True, False)


# --- an attention guard ------------------------------------------------------------------------------

WEAPON = "a photo of a knife"


def flagged_only(**settings):
    return tiny.guard("forceforget", when="flagged", **settings)


@pytest.mark.parametrize("options", [{}, {"guidance_scale": 1.0}, {"negative_prompt": "blurry"}])
def test_a_benign_picture_is_bit_for_bit_the_unguarded_one(options, pipe):
    plain = tiny.draw(pipe, ANCHOR, **options)
    with flagged_only().attach(pipe) as attachment:
        assert same_bits(tiny.draw(pipe, ANCHOR, **options), plain)
        (report,) = attachment.last.guards
    assert (report.acted, report.active_steps) == ((False,), (0,))
    assert all(score < 0.4 for step in report.scores["trigger"] for score in step)


def test_of_a_batch_only_the_flagged_are_touched(pipe):
    plain = tiny.draw(pipe, [WEAPON, ANCHOR], steps=4)
    with flagged_only().attach(pipe) as attachment:
        drawn = tiny.draw(pipe, [WEAPON, ANCHOR], steps=4)
        (report,) = attachment.last.guards
    assert report.active_steps == (4, 0)
    assert same_bits(drawn[1], plain[1]) and not near(drawn[0], plain[0])


def test_where_every_prompt_is_flagged_it_is_the_guard_as_it_always_was(pipe):
    pictures = []
    for settings in ({}, {"when": "flagged", "threshold": -1.0}):
        with tiny.guard("forceforget", **settings).attach(pipe):
            pictures.append(tiny.draw(pipe, [WEAPON, ANCHOR]))
    assert same_bits(*pictures)


def test_the_states_are_judged_once_for_as_long_as_they_stay(pipe, monkeypatch):
    from stanchion.guards.triggers import TextScore

    asked, own = [], TextScore.of
    monkeypatch.setattr(TextScore, "of", lambda self, states: asked.append(len(states)) or own(self, states))
    with flagged_only().attach(pipe):
        tiny.draw(pipe, [WEAPON, ANCHOR])
    assert asked == [2]  # both prompts, in the first of four steps


def test_states_that_a_callback_puts_in_are_judged_anew(pipe):
    knife = pipe.encode_prompt(WEAPON, "cpu", 1, True)

    def swap(pipeline, index, timestep, values):
        return {"prompt_embeds": torch.cat([knife[1], knife[0]])} if index == 1 else values

    options = {"callback_on_step_end": swap, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    with flagged_only().attach(pipe) as attachment:
        tiny.draw(pipe, ANCHOR, steps=6, **options)
        assert attachment.last.guards[0].active_steps == (4,)


def test_pictures_that_a_trajectory_guard_looks_at_alone_are_told_apart(pipe):
    """TraSCE's own conditions go through the guard as well, and some passes are of some pictures only."""
    trasce = TraSCE(tiny.weapons(), when="flagged", lazy_tol=1e-3)
    with GuardStack(flagged_only(), trasce).attach(pipe) as attachment:
        tiny.draw(pipe, [ANCHOR, WEAPON, ANCHOR])
        (report, _) = attachment.last.guards
    assert [acted > 0 for acted in report.active_steps] == [False, True, False]


def test_without_an_encoder_nobody_knows_what_is_near(pipe):
    states, _ = pipe.encode_prompt(ANCHOR, "cpu", 1, False)
    empty, _ = pipe.encode_prompt("", "cpu", 1, False)
    pipe.text_encoder = None
    with flagged_only().attach(pipe), pytest.raises(UnsupportedPipeline, match="text_encoder"):
        tiny.draw(pipe, None, prompt_embeds=states, negative_prompt_embeds=empty)
