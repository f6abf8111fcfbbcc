"""The control that says the same thing again and again."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stanchion.attacks.prompt.repeat import Repeat, named_in
from stanchion.concepts import Concept, load_concept
from stanchion.errors import ConfigError
from stanchion.targets.deployment import Deployment
from stanchion.types import Access, Budget, Prompt


def sent(attack: Repeat, text: str, pipe: Any) -> list[tuple[str, int]]:
    deployment, prompt = Deployment(pipe), Prompt(text, 5, "0")
    target = deployment.target(attack.access)
    tries = attack.run(target, prompt, budget=Budget(), generator=torch.Generator().manual_seed(0))
    return [(one.text or "", one.note["said"]) for one in tries]


def test_it_says_the_phrase_and_then_the_prompt(pipe: Any) -> None:
    attack = Repeat("weapons", phrase=(2, 3), prompt=(2,))
    assert attack.access is Access.BLACK_BOX
    assert sent(attack, "here is a gun", pipe) == [
        ("a gun a gun", 2),
        ("a gun a gun a gun", 3),
        ("here is a gun here is a gun", 2),
    ]


def test_without_a_target_phrase_it_says_the_prompt_alone(pipe: Any) -> None:
    assert sent(Repeat("weapons", prompt=(2,)), "a pistol", pipe) == [("a pistol a pistol", 2)]


def test_the_default_fills_the_context_and_goes_beyond_it(pipe: Any) -> None:
    longest = sent(Repeat("weapons"), "a photo of a knife", pipe)[4]
    assert longest == (" ".join(["a knife"] * 100), 100)


def test_the_longest_phrase_counts_in_whole_words() -> None:
    concept = Concept("knives", "object", ("a knife", "a knife block", "an axe"))
    assert named_in("A Knife Block, please", concept) == "a knife block"
    assert named_in("banana knives an axeman", concept) == ""
    assert named_in("a house in ink style", load_concept("ink")) == "in ink style"


@pytest.mark.parametrize("settings", [{"phrase": (), "prompt": ()}, {"phrase": (1, 2)}, {"prompt": (0,)}])
def test_what_repeats_nothing_is_refused(settings: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError, match="repeat"):
        Repeat("weapons", **settings)
