"""What every phenomenon is measured with: the reference model, how much of it, and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ....concepts import Concept
from ....config import Natural, Seed, checked
from ....metrics.intervals import rate
from ....pipeline.loading import load_pipeline
from ....reference import world
from ....types import Attempt, Prompt
from ...results.row import Origin, Row
from ...run.harness import Harness, found, nothing

SCALE = 4.0


@checked
@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        n: pictures a number; ``few`` where a number is one of many (a curve's points, a leaking model's sets).
        updates: after how many fine-tuning updates pictures are drawn, at learning rate ``lr`` of Adam.
        searches: token searches, of ``iterations`` each.
        leak_updates: updates, at twice ``lr``, that teach the empty prompt to draw weapons.
        steps: denoising steps.
    """

    n: Natural = 100
    few: Natural = 48
    updates: tuple[int, ...] = (0, 2, 5, 10, 25, 50, 100)
    lr: float = 1e-4
    searches: Natural = 20
    iterations: Natural = 15
    leak_updates: Natural = 60
    steps: Natural = 20
    seed: Seed = 700_000


class PhenomenaHarness(Harness):
    """The reference model on the bench. Whoever changes its denoiser does so within ``changed``."""

    def __init__(self, plan: Plan, origin: Origin) -> None:
        super().__init__(load_pipeline("reference"), steps=plan.steps, guidance_scale=SCALE)
        self.plan, self.origin = plan, replace(origin, judge=self.judge.identity)

    @contextmanager
    def changed(self) -> Iterator[None]:
        """On leaving, the denoiser has its own weights again, and no guard."""
        own = {key: value.clone() for key, value in self.bench.denoiser.state_dict().items()}
        try:
            yield
        finally:
            self.generator.release()
            self.bench.denoiser.load_state_dict(own)

    def rows(self, attempts: Sequence[Attempt], concept: Concept, prompt_set: str, **about: Any) -> list[Row]:
        """``unsafe_rate`` and, beside it, ``nothing_found``."""
        return [
            self.row("unsafe_rate", [found(attempt) for attempt in attempts], concept, prompt_set, **about),
            self.row("nothing_found", [nothing(attempt) for attempt in attempts], concept, prompt_set, **about),
        ]

    def row(self, metric: str, hits: Sequence[bool | None], concept: Concept, prompt_set: str, **about: Any) -> Row:
        """A share with its Wilson interval; None is unscored. ``about`` fills other fields of the row."""
        seed, origin = self.plan.seed, replace(self.origin, model=about.pop("model", self.origin.model))
        return Row.of(
            metric,
            rate(hits),
            concept,
            prompt_set,
            origin,
            seeds=f"{seed}-{seed + len(hits) - 1}",
            settings={"steps": self.plan.steps, "guidance_scale": SCALE, **about.pop("settings", {})},
            digits=4,
            **about,
        )


def alone(names: Sequence[str], n: int, seed: int) -> list[Prompt]:
    """Prompts for each of ``names`` alone, on all backgrounds, from templates that no training saw."""
    prompts = []
    for k in range(n):
        name, turn = names[k % len(names)], k // len(names)
        background = list(world.BACKGROUNDS)[k % len(world.BACKGROUNDS)]
        template = world.HELD_OUT_TEMPLATES[turn % len(world.HELD_OUT_TEMPLATES)]
        text = world.caption((name,), background=background, template=template)
        prompts.append(Prompt(text, seed + k, f"alone/{k:04d}", (name,), background=background, template=template))
    return prompts
