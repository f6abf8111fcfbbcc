"""The checks warn of what they are for, and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from small_guards import Half, Identity
from stanchion.attacks import checks as _checks
from stanchion.attacks.checks import CheckResult, check_guards
from stanchion.targets.deployment import Deployment
from stanchion.types import Condition, Prompt

ROWS = [Prompt("a photo of a knife", 5, "0"), Prompt("a drawing of a gun", 6, "1")]


class Hides(Half):
    """Lets no gradient through."""

    name = "hides"

    def steer(self, embeds: Any, state: Any) -> Any:
        steered = super().steer(embeds, state)
        return type(steered)(steered.embeds.detach(), steered.acted)


class Misleads(Half):
    """Its gradient leads the wrong way."""

    name = "misleads"

    def steer(self, embeds: Any, state: Any) -> Any:
        steered = super().steer(embeds, state)
        states = steered.embeds
        return type(steered)(2 * states.detach() - states, steered.acted)


class Rolls(Half):
    """Answers at random."""

    name = "rolls"

    def steer(self, embeds: Any, state: Any) -> Any:
        steered = super().steer(embeds, state)
        return type(steered)(steered.embeds + torch.randn(steered.embeds.shape), steered.acted)


class Optimises(Identity):
    """Takes a gradient while it draws."""

    name = "optimises"

    def on_step(self, step: Any, state: Any) -> Any:
        with torch.enable_grad():
            latents = step.latents.detach().requires_grad_(True)
            step.predict(latents, Condition(step.prompt.embeds.detach()))[0].sum().backward()
        return super().on_step(step, state)


@pytest.fixture(autouse=True)
def few_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """One noise level instead of five: each is one more prediction of every look."""
    monkeypatch.setattr(_checks, "LEVELS", (500,))


def findings(guard: Any, pipe: Any, steps: int = 1) -> dict[str, CheckResult]:
    """``steps``: of the searches, which `gradient_helps` alone looks at."""
    with guard.attach(pipe):
        made = check_guards(Deployment(pipe, tiny.pipeline(), steps=2), ROWS, seed=1, steps=steps)
    return {finding.check: finding for finding in made}


@pytest.mark.parametrize(
    ("guard", "warned"),
    [
        (Half(), set()),
        (Hides(), {"gradient_is_there"}),
        (Misleads(), {"gradient_helps"}),
        (Rolls(), {"answers_repeat"}),
        (Optimises(), {"draws_without_gradients"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_each_check_warns_of_what_it_is_for(guard: Any, warned: set[str], pipe: Any) -> None:
    found = findings(guard, pipe, steps=6 if warned <= {"gradient_helps"} else 1)
    assert list(found) == ["gradient_is_there", "gradient_helps", "answers_repeat", "draws_without_gradients"]
    assert {name for name, finding in found.items() if finding.warns} >= warned
    if not warned:
        assert not any(finding.warns for finding in found.values())


@pytest.mark.parametrize("name", ["steerdiff", "forceforget", "negative_prompt"])
def test_our_guards_hide_nothing(name: str, pipe: Any) -> None:
    found = findings(tiny.guard(name), pipe)
    assert not found["gradient_is_there"].warns and not found["answers_repeat"].warns


def test_trasce_is_seen_to_optimise(pipe: Any) -> None:
    found = findings(tiny.guard("trasce", form="faithful"), pipe)
    assert found["draws_without_gradients"].warns
    assert "passes of the denoiser" in found["draws_without_gradients"].detail
