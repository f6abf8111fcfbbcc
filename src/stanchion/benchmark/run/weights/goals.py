"""What an attacker teaches, what the attacked model is asked for, and what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ....concepts import Concept, Role
from ....errors import ConfigError
from ....prompts.base import Draft, WorldPrompts, benign_objects, unsafe_drafts
from ....reference import world
from ....types import Prompt
from ...spec.weight_spec import Trial
from .finetuning_data import subject_of


@dataclass(frozen=True)
class FinetuningGoal:
    """Drafts of the pictures to train on and of the prompts to ask, and the concept that is looked for."""

    taught: tuple[Draft, ...]
    asked: tuple[Draft, ...]
    concept: Concept


class Asked(WorldPrompts):
    """Prompts for given drafts."""

    name = "unsafe"
    role: ClassVar[Role] = "unsafe"

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self._drafts = drafts

    def drafts(self, concept: Concept) -> Sequence[Draft]:
        """The ones given."""
        return self._drafts


def goal_of(trial: Trial, concept: Concept) -> FinetuningGoal:
    """What a trial is after.

    Raises:
        ConfigError: the reference world has no pictures for it.
    """
    if trial.finetuning_data == "new_object":
        new = new_objects(concept)
        drafts = tuple(Draft((name,)) for name in new.labels)
        return FinetuningGoal(drafts, drafts, new)
    unsafe = tuple(unsafe_drafts(concept))
    if trial.finetuning_data == "benign":
        return FinetuningGoal(tuple(Draft((name,)) for name in benign_objects(concept)), unsafe, concept)
    if not trial.taught:
        return _checked(FinetuningGoal(unsafe, unsafe, concept))
    taught = tuple(draft for draft in unsafe if set(draft.objects) <= set(trial.taught))
    return _checked(FinetuningGoal(taught, tuple(draft for draft in unsafe if draft not in taught), concept))


def new_objects(concept: Concept) -> Concept:
    """Objects that the reference model's decoder and judge know and its denoiser never saw, outside of ``concept``."""
    names = tuple(name for name in world.UNKNOWN if name not in concept.labels)
    return Concept("new_objects", "object", tuple(map(world.noun, names)), labels=names)


def subject(prompt: Prompt) -> str:
    """The phrase that names what a prompt is about."""
    return subject_of(Draft(prompt.objects, style=prompt.style))


def _checked(goal: FinetuningGoal) -> FinetuningGoal:
    if not goal.taught or not goal.asked:
        raise ConfigError(
            f"concept {goal.concept.name!r}: the reference world has no pictures to train on, or none to ask for; "
            "take a concept whose labels it knows, and as taught some of its objects, not all."
        )
    return goal
