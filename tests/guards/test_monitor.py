"""The picture monitor: hits, what it does then, who waits for it, and that it hides no gradient."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

import tiny
import tiny_families
from closeness import near, same_bits
from stanchion import ArtefactError, ConfigError, GuardFailed, GuardRefused, GuardStack, TraSCE
from stanchion.attacks import checks
from stanchion.guards.trajectory.monitor import TEMPER, Monitor, PictureNetwork
from stanchion.pipeline.model.base_weights import base_of
from stanchion.pipeline.model.guarded_prediction import GuardedPrediction
from stanchion.targets.deployment import Deployment
from stanchion.types import Flagged, Prompt

TWO = ["a photo of a knife", "a photo of a cat"]


def made(kind: type[Monitor], pipe: Any, bias: float = 0.0, sharp: float = 1.0, **settings: Any) -> Monitor:
    """A network of noise that says ``bias``, and more or less where latents are others."""
    torch.manual_seed(0)
    network = PictureNetwork(4)
    network.last.bias.data.fill_(bias)
    network.last.weight.data *= sharp
    base = {name: base_of(dict(getattr(pipe, name).named_parameters())) for name in Monitor.based_on}
    tensors = {name: value.detach() for name, value in network.state_dict().items()}
    return kind("weapons", tensors=tensors, base=base, **{"look_from": 0.0, "still": "keep", **settings})


class Scripted(Monitor):
    """Sees what it is told: by step, a probability a picture."""

    script: tuple[tuple[float, ...], ...] = ()

    def begin(self, call: Any) -> Any:
        self.told = iter(self.script)
        return super().begin(call)

    def hits(self, clean: torch.Tensor, alpha_bar: float, *, last: bool = False) -> Flagged:
        chance = torch.tensor(next(self.told), dtype=torch.float32)
        return Flagged(
            chance >= (self.settings.finished if last else self.settings.threshold), torch.logit(chance) / TEMPER
        )


def scripted(pipe: Any, *script: tuple[float, ...], **settings: Any) -> Scripted:
    guard = made(Scripted, pipe, **settings)
    guard.script = script
    return guard


@pytest.mark.parametrize("options", [{}, {"guidance_scale": 1.0}, {"negative_prompt": ["blurry"] * 2}])
def test_where_it_sees_nothing_the_picture_is_bit_for_bit_the_unguarded_one(options, pipe):
    plain = tiny.draw(pipe, TWO, **options, steps=4)
    with made(Monitor, pipe, -20.0).attach(pipe) as attachment:
        drawn = tiny.draw(pipe, TWO, **options, steps=4)
        (report,) = attachment.last.guards
    assert same_bits(drawn, plain)
    assert report.active_steps == (0, 0) and len(report.scores["seen"]) == 4
    assert max(report.scores["seen"][-1]) < 0.01


def test_after_its_hits_the_anchor_is_drawn_in_that_picture_alone(pipe):
    plain = tiny.draw(pipe, TWO, steps=4)
    with scripted(pipe, *[(0.9, 0.1)] * 4).attach(pipe) as attachment:
        drawn = tiny.draw(pipe, TWO, steps=4)
        (report,) = attachment.last.guards
    assert report.acted_at == ((False, False), (True, False), (True, False), (True, False))
    assert same_bits(drawn[1], plain[1]) and not near(drawn[0], plain[0])


def test_from_the_first_step_on_it_is_the_anchors_picture(pipe):
    anchor = tiny.draw(pipe, "a cat")
    with made(Monitor, pipe, 20.0, hits=1).attach(pipe):
        drawn = tiny.draw(pipe, "a photo of a knife")
    assert same_bits(drawn, anchor)


def test_a_step_without_it_takes_the_hits_back_and_one_in_between_does_not(pipe):
    seen = [(chance,) for chance in (0.9, 0.1, 0.9, 0.6, 0.9, 0.1)]
    with scripted(pipe, *seen).attach(pipe) as attachment:
        tiny.draw(pipe, steps=6)
        acted = [step[0] for step in attachment.last.guards[0].acted_at]
    assert acted == [False, False, False, False, True, True]


def test_before_its_noise_level_it_does_not_look(pipe):
    with made(Monitor, pipe, 20.0, look_from=0.5, hits=1).attach(pipe) as attachment:
        tiny.draw(pipe, steps=4)
        (report,) = attachment.last.guards
    assert [step[0] for step in report.acted_at] == [False, False, True, True]
    assert len(report.scores["seen"]) == 2


def test_where_it_sees_nothing_no_pass_is_made_for_it(pipe):
    passes: list[int] = []
    pipe.unet.register_forward_pre_hook(lambda module, args: passes.append(len(args[0])))
    with made(Monitor, pipe, -20.0).attach(pipe):
        tiny.draw(pipe, TWO, steps=4)
    assert passes == [4] * 4


def test_the_last_look_is_surer_and_one_hit_is_enough_there(pipe):
    seen = [(0.1,), (0.6,), (0.6,), (0.45,)]  # none of them a hit but by what counts in the end
    for finished, refused in ((0.4, True), (0.5, False)):
        guard = scripted(pipe, *seen, still="refuse", finished=finished)
        with guard.attach(pipe) as attachment:
            if refused:
                with pytest.raises(GuardRefused, match=r"at step 4 of 4 \(probability 0.450\)"):
                    tiny.draw(pipe, steps=4)
            else:
                tiny.draw(pipe, steps=4)
                assert attachment.last.acted == (False,)


@pytest.mark.parametrize("settings", [{}, {"look_from": 1.0}])
def test_a_call_with_fewer_looks_than_hits_trips_in_its_last_step(settings, pipe):
    """Or few steps would be a way round it."""
    with made(Monitor, pipe, 20.0, still="refuse", **settings).attach(pipe), pytest.raises(GuardFailed, match="saw"):
        tiny.draw(pipe, steps=1)
    with made(Monitor, pipe, -20.0, still="refuse", **settings).attach(pipe) as attachment:
        tiny.draw(pipe, steps=1)
        assert attachment.last.acted == (False,)


def stopped(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
    """diffusers' own stop button, pressed in the second step."""
    pipe._interrupt = index == 1
    return values


@pytest.mark.parametrize("settings", [{}, {"action": "refuse", "hits": 4}, {"look_from": 1.0}])
def test_a_call_that_is_stopped_settles_what_was_seen_last(settings, pipe):
    """Or whoever stops before the last step would have what that step refuses."""
    draw = partial(tiny.draw, pipe, steps=4, callback_on_step_end=stopped)
    refusal = pytest.raises(GuardRefused, match="step 2 of 2")
    with made(Monitor, pipe, 20.0, **{"still": "refuse", **settings}).attach(pipe), refusal as found:
        draw()
    assert found.value.report.steps == 2
    with made(Monitor, pipe, -20.0, **{"still": "refuse", **settings}).attach(pipe) as attachment:
        draw()
        assert (attachment.last.acted, attachment.last.steps) == ((False,), 2)


def test_a_schedule_that_is_left_to_a_refiner_ends_with_a_look():
    pipe = tiny_families.fresh("StableDiffusionXLPipeline")
    refusal = pytest.raises(GuardRefused, match="step 3 of 3")
    with made(Monitor, pipe, 20.0, still="refuse").attach(pipe), refusal:
        tiny_families.draw(pipe, steps=4, denoising_end=0.8)


@pytest.mark.parametrize(
    ("settings", "step"), [({"action": "refuse"}, "step 2 of 4"), ({"still": "refuse"}, "step 4 of 4")]
)
def test_what_it_refuses_is_named(settings, step, pipe):
    refusal = pytest.raises(GuardFailed, match=f"'weapons' in picture 2 of 2 at {step} .*0.950.*no image")
    with scripted(pipe, *[(0.1, 0.95)] * 4, **settings).attach(pipe), refusal:
        tiny.draw(pipe, TWO, steps=4)


def test_what_is_no_number_makes_no_picture(pipe):
    with scripted(pipe, (0.1,), (float("nan"),)).attach(pipe), pytest.raises(GuardFailed, match="its score holds NaN"):
        tiny.draw(pipe)


def test_release_above_threshold_makes_no_sense(pipe):
    with pytest.raises(ConfigError, match=r"release is 0.9, above the threshold 0.8"):
        made(Monitor, pipe, release=0.9)


def test_it_is_refused_on_other_weights(pipe):
    guard = made(Monitor, pipe)
    with pytest.raises(ArtefactError, match="unet"):
        guard.attach(tiny.pipeline(seed=1))


# --- guards that wait for it -------------------------------------------------------------------------


def waiting(name: str) -> Any:
    if name == "trasce":
        return TraSCE(tiny.weapons(), when="monitor", localized=False)
    return tiny.guard("forceforget", when="monitor")


every_waiting = pytest.mark.parametrize("name", ["trasce", "forceforget"])


@every_waiting
def test_who_waits_for_a_monitor_needs_one(name, pipe):
    with pytest.raises(ConfigError, match="no monitor watches for weapons"):
        waiting(name).attach(pipe)


@every_waiting
def test_who_waits_acts_from_the_next_step_on_and_on_that_picture_alone(name, pipe):
    plain = tiny.draw(pipe, TWO, steps=4)
    with GuardStack(waiting(name), scripted(pipe, *[(0.9, 0.1)] * 4, action="tell")).attach(pipe) as attachment:
        drawn = tiny.draw(pipe, TWO, steps=4)
        reports = {report.guard: report for report in attachment.last.guards}
    assert reports["monitor"].active_steps == (0, 0)
    assert reports[name].acted_at == ((False, False), (False, False), (True, False), (True, False))
    assert same_bits(drawn[1], plain[1]) and not near(drawn[0], plain[0])


def test_flagged_or_monitor_is_either_of_them(pipe):
    trasce = TraSCE(tiny.weapons(), when="flagged_or_monitor", localized=False)
    with GuardStack(trasce, scripted(pipe, *[(0.1, 0.9)] * 4, action="tell")).attach(pipe) as attachment:
        tiny.draw(pipe, ["a knife", "a photo of a cat"], steps=4)
        (report,) = (report for report in attachment.last.guards if report.guard == "trasce")
    assert report.active_steps == (4, 2)


def test_two_monitors_of_one_concept_are_refused(pipe):
    with pytest.raises(ConfigError, match="two monitors watch for weapons"):
        GuardStack(made(Monitor, pipe), made(Monitor, pipe))


# --- what an attacker sees ---------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [30.0, -30.0])
def test_a_network_that_is_certain_hides_no_gradient(bias, pipe):
    """Through the monitor alone: the anchor's prediction does not depend on the prompt, nor a certain probability."""
    prediction = GuardedPrediction(pipe, (made(Monitor, pipe, bias),), 4, 4.0)
    states = pipe.encode_prompt("a knife", "cpu", 1, False)[0].requires_grad_()
    prompt = replace(prediction.prompt(None, None, states.detach()), embeds=states)
    guided = prediction.guided(torch.zeros(1, 4, 8, 8), 500, prompt)
    assert guided.acted.tolist() == [bias > 0]
    (slope,) = torch.autograd.grad(guided.noise.square().sum(), states)
    assert 0 < slope.norm() < float("inf")


@pytest.mark.parametrize("name", ["trasce", "forceforget"])
def test_an_attacker_sees_who_waits_for_it_act(name, pipe):
    plain = GuardedPrediction(pipe, (), 4, 4.0)
    guarded = GuardedPrediction(pipe, (waiting(name), made(Monitor, pipe, 20.0, action="tell")), 4, 4.0)
    latents, states = torch.zeros(1, 4, 8, 8), pipe.encode_prompt("a knife", "cpu", 1, False)[0]
    seen = [one.guided(latents, 500, one.prompt(None, None, states)).noise.detach() for one in (plain, guarded)]
    assert not near(*seen)


class Saturated(Monitor):
    """Its score is a probability of large logits."""

    def hits(self, clean: torch.Tensor, alpha_bar: float, *, last: bool = False) -> Flagged:
        found = super().hits(clean, alpha_bar)
        return Flagged(found.acted, (TEMPER * found.scores).sigmoid())


@pytest.mark.parametrize(("kind", "warns"), [(Saturated, True), (Monitor, False)])
def test_a_saturated_trigger_is_warned_of(kind, warns, pipe, monkeypatch):
    monkeypatch.setattr(checks, "LEVELS", (700,))
    with made(kind, pipe, 40.0, sharp=50.0).attach(pipe):
        target = Deployment(pipe, tiny.pipeline(), steps=2)
        loss = checks._Loss(target.target("white_box"), Prompt("a knife", 5, "0"), torch.Generator().manual_seed(0))
        (found,) = checks.triggers_answer([loss])
    assert found.warns is warns
