"""Which guards the playground has for each concept, in the order of the stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ... import registry
from ...concepts import BUILT_IN, Concept
from ...errors import ConfigError, StanchionError
from ...guards.loading import load_guard
from ...pipeline.families import family_of, kind_of
from ...pipeline.stages import Stage
from ..policy import Policy
from .trial import GuardChoice


class Choices:
    """The policy's guards, and those of the package that fit the model.

    Args:
        own: the policy's, each with its rule.
        pipe: an unguarded pipeline to try them on.

    Attributes:
        by_concept: for each concept's name its guards by theirs, in stage order; the policy's concepts first.
    """

    def __init__(self, policy: Policy, own: Sequence[GuardChoice], pipe: Any) -> None:
        self._policy, self.own = policy, tuple(own)
        concepts = {choice.guard.concept.name: choice.guard.concept for choice in own} | BUILT_IN
        self.concepts: tuple[Concept, ...] = tuple(concepts.values())
        self.by_concept = {concept.name: self._of(concept, pipe) for concept in self.concepts}

    def locked(self, choice: GuardChoice) -> bool:
        """Whether it can't be switched off."""
        return choice.rule is not None and not self._policy.playground.unguarded

    def taken(self, concept: str, names: Sequence[str]) -> tuple[GuardChoice, ...]:
        """The guards of these names for a concept, and those that can't be switched off, in stage order.

        Raises:
            ConfigError: an unknown concept or guard, none at all, or two that steer the trajectory.
        """
        if concept not in self.by_concept:
            raise ConfigError(registry.unknown("concept", concept, self.by_concept))
        known = self.by_concept[concept]
        for name in names:
            if name not in known:
                raise ConfigError(registry.unknown("guard", name, known))
        chosen = [known[name] for name in dict.fromkeys(names)]
        chosen += [choice for choice in self.own if self.locked(choice) and choice not in chosen]
        if not chosen:
            raise ConfigError("no guard is switched on; switch on one or more.")
        steering = [choice.name for choice in chosen if _steers(choice.guard)]
        if len(steering) > 1:
            raise ConfigError(f"{' and '.join(steering)} both steer the trajectory; switch on one of them.")
        return tuple(sorted(chosen, key=_place))

    def _of(self, concept: Concept, pipe: Any) -> dict[str, GuardChoice]:
        own = [choice for choice in self.own if choice.guard.concept.name == concept.name]
        others = self._packaged(concept, {choice.guard.name for choice in own}, pipe)
        return {choice.name: choice for choice in sorted((*own, *others), key=_place)}

    def _packaged(self, concept: Concept, known: set[str], pipe: Any) -> Iterator[GuardChoice]:
        """Those that can be had without training, and stand on this pipeline."""
        for name in registry.names("guards"):
            if name in known:
                continue
            try:
                yield GuardChoice(name, self._fitting(name, concept, pipe))
            except StanchionError:
                continue

    def _fitting(self, name: str, concept: Concept, pipe: Any) -> Any:
        """The guard. Raises where it was made for another model, or can't stand on this one."""
        kind = registry.get("guards", name)
        for_reference = kind.trained or kind.stage is Stage.OUTPUT  # tensors, and a judge of drawings
        if for_reference and self._policy.model != "reference":
            raise ConfigError(f"{name} comes with the package for the reference model only.")
        guard = load_guard(name, concept)
        family_of(pipe).check_guards(kind_of(pipe), (guard,))
        if kind.trained:
            with guard.attach(pipe):
                pass
        return guard


def named(guards: Sequence[tuple[Any, Any]]) -> list[GuardChoice]:
    """The policy's guards under names that are theirs alone among those of a concept."""
    made: list[GuardChoice] = []
    for guard, rule in guards:
        same = [one for one in made if (one.guard.name, one.guard.concept.name) == (guard.name, guard.concept.name)]
        made.append(GuardChoice(f"{guard.name}-{len(same) + 1}" if same else guard.name, guard, rule))
    return made


def _place(choice: GuardChoice) -> tuple[int, bool]:
    return int(choice.guard.stage.place), choice.guard.watches  # behind whoever steers


def _steers(guard: Any) -> bool:
    return guard.stage is Stage.TRAJECTORY and not guard.watches
