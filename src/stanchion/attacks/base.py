"""What an attack is. It never sees a judge and never says itself whether it won."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Generic, cast, final

import torch
from torch import Tensor

from .. import config, content_policy
from ..concepts import Concept, load_concept
from ..errors import ConfigError
from ..targets.protocols import Deployed, Meter, Target
from ..types import Access, Adversarial, Attempt, Budget, Prompt
from .attack_run import AttackRun, Search, generator_of, groups_of


@dataclass(frozen=True)
class Material:
    """What an attacker collected to train on.

    Attributes:
        pictures: (N, 3, H, W) in [-1, 1], of the model's native size.
        captions: N texts.
        subjects: the phrase in each caption that names what the attacker is after, "a knife" say.
    """

    pictures: Tensor
    captions: tuple[str, ...]
    subjects: tuple[str, ...]

    def __add__(self, other: Material) -> Material:
        pictures = torch.cat([self.pictures, other.pictures])
        return Material(pictures, self.captions + other.captions, self.subjects + other.subjects)

    def first(self, count: int) -> Material:
        """The first ``count`` pictures."""
        return Material(self.pictures[:count], self.captions[:count], self.subjects[:count])


class WeightAttack(ABC):
    """Changes the weights of a released model to bring a concept back. Its result is a curve over updates.

    Attributes:
        name: the file's stem.
        Settings: a frozen dataclass of everything that decides the outcome beside model, material and seed.
    """

    name: ClassVar[str]
    access: ClassVar[Access] = Access.WHITE_BOX
    Settings: ClassVar[type] = config.NoSettings

    def __init__(self, **settings: Any) -> None:
        self.settings: Any = config.from_dict(self.Settings, settings, where=self.name)

    @abstractmethod
    def run(self, bench: Any, material: Material, *, public: Any, seed: int) -> Iterator[int]:
        """Yields numbers of updates, ascending, with the attacked weights so far in place in ``bench.pipe``.

        Whoever reads the curve draws at each yield, and puts the weights back when it is done.

        Args:
            bench: the released model's ``Workbench``.
            public: the ``Workbench`` of the model that it was made from, which everybody has.
        """

    def worded(self, text: str, subject: str) -> str:
        """What this attacker asks the attacked model instead of ``text``, which names ``subject``."""
        return text


class PromptAttack(ABC, Generic[Target]):
    """Looks for what to send in a prompt's place so that the guarded pipeline draws the concept.

    A subclass writes ``run`` and says in brackets (``PromptAttack[WhiteBox]``) what it asks of its target, which is the
    one that its access names; it gets nothing else of the pipeline. The final ``__call__`` draws its candidates, counts
    them and asks the judge, so no attack can grade itself.

    Attributes:
        name: the file's stem.
        access: which target it gets.
        Settings: a frozen dataclass of everything that decides the outcome beside concept, target and seed.
        presets: settings by name: "default" fits the reference model, "paper" is the paper's own, "tiny" is what
            the tests run in a second.
        together: how many candidates are drawn in one batch; 1 where finding the next one costs more than a picture.
        universal: whether it learns one thing for all prompts.
    """

    name: ClassVar[str]
    access: ClassVar[Access]
    Settings: ClassVar[type] = config.NoSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}, "paper": {}, "tiny": {}}
    together: ClassVar[int] = 1
    universal: ClassVar[bool] = False

    def __init__(self, concept: str | Concept, preset: str = "default", **settings: Any) -> None:
        if preset not in self.presets:
            known = ", ".join(self.presets)
            raise ConfigError(f"attack {self.name!r}: no preset {preset!r}; there are {known}.")
        self.concept = load_concept(concept)
        self.settings: Any = config.from_dict(self.Settings, {**self.presets[preset], **settings}, where=self.name)

    @property
    def identity(self) -> str:
        """Names everything that decides what it tries, beside target, prompts, budget and seed."""
        return config.fingerprint([self.name, self.concept.to_dict(), config.to_dict(self.settings)])

    def adaptive(self, replayed: bool) -> bool | None:
        """What its attempts say: False for a replay, True where it looked through the guards, None where it can't."""
        return False if replayed else True if self.access is Access.WHITE_BOX else None

    def side_by_side(self, replayed: bool) -> bool:
        """Whether several prompts are attacked in one batch: where the next candidate costs nothing."""
        return replayed or self.universal

    @abstractmethod
    def run(
        self, target: Target, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        """Candidates, in the order in which they shall be tried; the attack ends at the first that succeeds.

        Each is drawn and judged before the next is asked for (in groups of ``together``), at the price of a picture.

        Args:
            target: what ``access`` names (``targets/protocols.py``). ``BudgetSpent`` ends the attack.
            prompt: the row; its text is what the pipeline refuses to draw.
            budget: what target and candidates may cost together.
            generator: on the CPU; the only source of randomness.
        """

    def learn(self, target: Target, prompts: Sequence[Prompt], *, budget: Budget, generator: torch.Generator) -> Any:
        """What ``UniversalAttack`` learns once for all prompts; nothing here."""
        return None

    def tries(self, learned: Any, target: Target, prompt: Prompt, **about: Any) -> Iterator[Adversarial]:
        """The candidates for a prompt: those of ``run``."""
        return self.run(target, prompt, **about)

    @final
    def __call__(
        self,
        deployment: Deployed,
        prompts: Sequence[Prompt],
        *,
        judge: Any,
        budget: Budget,
        seed: int,
        batch: int = 8,
        restart: int | None = None,
        learn_from: Sequence[Prompt] = (),
        found: Mapping[str, Sequence[Adversarial]] | None = None,
        keep: Callable[[Prompt, Any], str] | None = None,
        known: Mapping[str, Attempt] | None = None,
    ) -> Iterator[Attempt]:
        """One attempt a prompt, in their order: the first success, else the last try.

        Every prompt is drawn without attack first. Where that is unsafe already the row is not attacked, and counted
        apart (arXiv 2310.11868): its attempt says ``unattacked=True``. Rows that are never drawn are unscored.

        Args:
            deployment: the guarded pipeline (``targets.deployment.Deployment``).
            judge: a ``Judge``; one that fails leaves the row unscored.
            budget: for each prompt; a universal attack's learning has one of its own.
            seed: what the attack's choices follow from, with the prompt's id and ``restart``.
            batch: prompts that are drawn together, without attack and where candidates cost nothing to find.
            restart: which run of a universal attack.
            learn_from: what a universal attack learns from; the prompts themselves where none are given.
            found: candidates by the prompt's id, as ``find`` gives them, to be tried instead of the attack's own:
                the static form of an attack.
            keep: saves a picture and says where; pictures are not kept where it is None.
            known: attempts without attack by the prompt's id, of this deployment and judge; only the others are drawn.
        """
        trial = AttackRun(deployment, judge, self, keep, restart, self.adaptive(found is not None))

        @cache
        def learned() -> Any:
            """Not before there is a row to attack."""
            return None if found is not None else self._learn(deployment, learn_from or prompts, budget, seed, restart)

        def row(direct: Attempt) -> Search:
            meter = deployment.meter(budget)
            return Search(direct, self._tries(deployment, meter, learned(), direct.prompt, seed, restart, found), meter)

        size = batch if self.side_by_side(found is not None) else 1
        for start in range(0, len(prompts), batch):
            directs = trial.direct(prompts[start : start + batch], known or {})
            for first in range(0, len(directs), size):
                yield from trial.attacked(directs[first : first + size], row)

    @final
    def find(
        self,
        deployment: Deployed,
        prompts: Sequence[Prompt],
        *,
        budget: Budget,
        seed: int,
        restart: int | None = None,
        learn_from: Sequence[Prompt] = (),
    ) -> dict[str, tuple[Adversarial, ...]]:
        """Every candidate that the budget allows, by the prompt's id, none of them drawn: to be tried elsewhere."""
        allowed = [prompt for prompt in prompts if not content_policy.refused(prompt.text)]
        learned = self._learn(deployment, learn_from or allowed, budget, seed, restart)
        found = {}
        for prompt in allowed:
            meter = deployment.meter(budget)
            groups = groups_of(self._tries(deployment, meter, learned, prompt, seed, restart), 1, meter)
            found[prompt.id] = tuple(one for group in groups for one in group)
        return found

    def _learn(
        self, deployment: Deployed, prompts: Sequence[Prompt], budget: Budget, seed: int, restart: int | None
    ) -> Any:
        allowed = [prompt for prompt in prompts if not content_policy.refused(prompt.text)]
        return self.learn(
            self._target(deployment, deployment.meter(budget)),
            allowed,
            budget=budget,
            generator=generator_of(self.name, seed, restart, ""),
        )

    def _tries(
        self,
        deployment: Deployed,
        meter: Meter,
        learned: Any,
        prompt: Prompt,
        seed: int,
        restart: int | None,
        found: Mapping[str, Sequence[Adversarial]] | None = None,
    ) -> Iterator[Adversarial]:
        if found is not None:
            return iter(found.get(prompt.id, ()))
        generator = generator_of(self.name, seed, restart, prompt.id)
        return self.tries(learned, self._target(deployment, meter), prompt, budget=meter.budget, generator=generator)

    def _target(self, deployment: Deployed, meter: Meter) -> Target:
        return cast(Target, deployment.target(self.access, meter))


class UniversalAttack(PromptAttack[Target]):
    """Learns one thing for all prompts, a token or a direction, and applies it to each.

    A subclass writes ``learn`` and ``apply``. How good the result is depends on the run: it is restarted with other
    randomness (``restart``), and intervals are clustered by restart.
    """

    universal = True

    @abstractmethod
    def learn(self, target: Target, prompts: Sequence[Prompt], *, budget: Budget, generator: torch.Generator) -> Any:
        """Whatever ``apply`` needs."""

    @abstractmethod
    def apply(self, learned: Any, target: Target, prompt: Prompt) -> Adversarial:
        """What to send in this prompt's place."""

    def tries(self, learned: Any, target: Target, prompt: Prompt, **about: Any) -> Iterator[Adversarial]:
        yield self.apply(learned, target, prompt)

    @final
    def run(
        self, target: Target, prompt: Prompt, *, budget: Budget, generator: torch.Generator
    ) -> Iterator[Adversarial]:
        """The same, learned from this prompt alone."""
        yield self.apply(self.learn(target, [prompt], budget=budget, generator=generator), target, prompt)
