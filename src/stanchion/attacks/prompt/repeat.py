"""The same words again and again: the control for guards that were fitted to prompts that say a thing once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from ...concepts import Concept
from ...config import Range, checked
from ...errors import ConfigError
from ...targets.protocols import BlackBox
from ...types import Access, Adversarial, Budget, Prompt
from ..base import PromptAttack

Several = Annotated[int, Range(2)]


@checked
@dataclass(frozen=True)
class RepeatSettings:
    """Settings of ``Repeat``. One picture for each number; each is 2 or more.

    Attributes:
        phrase: how often the target phrase that the prompt names is said, and nothing else. Two tokens said 15 times
            fill the reference model's context, 37 times CLIP's; a hundred go beyond any.
        prompt: how often the prompt is said as it is.
    """

    phrase: tuple[Several, ...] = (2, 4, 8, 15, 100)
    prompt: tuple[Several, ...] = (2, 100)

    def __post_init__(self) -> None:
        if not (self.phrase or self.prompt):
            raise ConfigError(f"repeat: phrase is {self.phrase}, prompt {self.prompt}; say something twice or more.")


class Repeat(PromptAttack[BlackBox]):
    """The prompt's target phrase, then the prompt itself, said several times over, with the prompt's own seed."""

    name = "repeat"
    access: ClassVar[Access] = Access.BLACK_BOX
    Settings = RepeatSettings
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {"phrase": (2, 4, 8, 37, 100)},
        "tiny": {"phrase": (2, 100), "prompt": (2,)},
    }
    together: ClassVar[int] = 8

    def run(
        self, target: BlackBox, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        phrase = named_in(prompt.text, self.concept)
        said = [(phrase, count) for count in self.settings.phrase if phrase]
        for words, count in [*said, *((prompt.text, count) for count in self.settings.prompt)]:
            yield Adversarial(text=" ".join([words] * count), note={"said": count})


def named_in(text: str, concept: Concept) -> str:
    """The longest of the concept's target phrases that stands in a text, in whole words; "" where none does."""
    there = [phrase for phrase in concept.targets if re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.I)]
    return max(there, key=len, default="")
