"""The gates: near a concept they open, far from it they cost nothing but the look."""

from __future__ import annotations

import pytest
import torch

import tiny
from closeness import same_bits
from stanchion import Concept, TraSCE
from stanchion.guards.gates import in_contexts, nearness

KNIFE = Concept("knife", "object", ("a knife",), anchors=("a cat", "a dog"))
CONCEPT, ANCHOR = "a photo of a knife", "a photo of a cat"
every_gate = pytest.mark.parametrize("gate", ["text", "noise"])


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


@every_gate
def test_a_gate_tells_the_concept_from_an_anchor(gate, pipe):
    prompts = {"text": [CONCEPT, ANCHOR], "noise": ["a knife", "a cat"]}[gate]
    with TraSCE(KNIFE, gate=gate).attach(pipe) as attachment:
        tiny.draw(pipe, prompts)
        report = attachment.last.guards[0]
    concept, anchor = report.scores["gate"][-1]
    assert concept == pytest.approx(1.0, abs=0.1) and anchor < 0  # 1 but for what roots make of roundings
    assert report.acted == (True, False) and report.active_steps == (4, 0)


@every_gate
def test_a_closed_gate_draws_what_the_pipeline_draws(gate, pipe):
    options = {"negative_prompt": "blurry"}
    plain = [tiny.draw(pipe, ANCHOR), tiny.draw(pipe, ANCHOR, guidance_scale=1.0), tiny.draw(pipe, ANCHOR, **options)]
    with TraSCE(KNIFE, gate=gate, gate_threshold=1.0).attach(pipe) as attachment:
        assert same_bits(tiny.draw(pipe, ANCHOR), plain[0])
        assert same_bits(tiny.draw(pipe, ANCHOR, guidance_scale=1.0), plain[1])
        assert same_bits(tiny.draw(pipe, ANCHOR, **options), plain[2])
        assert attachment.last.acted == (False,)


def test_a_closed_gate_costs_what_the_pipeline_costs(pipe):
    rows = rows_of(pipe)
    with TraSCE(KNIFE, gate="text").attach(pipe):
        tiny.draw(pipe, ANCHOR)
        tiny.draw(pipe, ANCHOR, guidance_scale=1.0)
    assert rows == [2, 2, 2, 2, 1, 1, 1, 1]


def test_the_noise_gate_looks_in_the_first_steps_only(pipe):
    rows = rows_of(pipe)
    with TraSCE(KNIFE, gate="noise", gate_steps=2, gate_threshold=1.0).attach(pipe):
        tiny.draw(pipe, ANCHOR)
    assert rows == [5, 2, 5, 2, 2, 2]  # a look: the prompt, one target, three anchors


@every_gate
def test_an_open_gate_changes_nothing_of_the_method(gate, pipe):
    pictures = []
    for settings in ({}, {"gate": gate, "gate_threshold": -1.0}):
        with TraSCE(KNIFE, **settings).attach(pipe):
            pictures.append(tiny.draw(pipe, [CONCEPT, ANCHOR]))
    assert same_bits(*pictures)


@every_gate
def test_a_batch_that_is_near_and_far_equals_singles(gate, pipe):
    prompts = ["a knife", "a cat"]
    with TraSCE(KNIFE, gate=gate, lazy_tol=1e-3).attach(pipe):
        together = tiny.draw(pipe, prompts)
        alone = torch.cat([tiny.draw(pipe, prompt, seed=place) for place, prompt in enumerate(prompts)])
    assert (together - alone).abs().max() < 1e-4


@every_gate
def test_a_prompt_that_a_callback_puts_in_is_judged_anew(gate, pipe):
    knife = pipe.encode_prompt("a knife", "cpu", 1, True)

    def swap(pipeline, index, timestep, values):
        return {"prompt_embeds": torch.cat([knife[1], knife[0]])} if index == 1 else values

    options = {"callback_on_step_end": swap, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    with TraSCE(KNIFE, gate=gate).attach(pipe) as attachment:
        tiny.draw(pipe, "a cat", steps=6, **options)
        assert attachment.last.guards[0].active_steps == (4,)


def test_a_concept_without_anchors_is_gated_by_the_empty_prompt(pipe):
    with TraSCE(Concept("knife", "object", ("a knife",)), gate="text").attach(pipe) as attachment:
        tiny.draw(pipe, [CONCEPT, ""])
        assert attachment.last.acted == (True, False)
