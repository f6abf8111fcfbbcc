"""Time of each guard on benign prompts against the unguarded pipeline, as ratios within one run.

Variants are those of the specs in ``specs`` that compare guards; trained guards are the ones in the package. See
_timing.py for how time is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ... import registry
from ...concepts import load_concept
from ...config import Natural, Seed, checked
from ...errors import ConfigError, UnknownName
from ..results.row import Row
from ..run.image_generator import guards_of
from ..spec.prompt_spec import load_spec
from ..spec.variant import UNGUARDED, Variant
from ._cost import CostStudy

BATCHES = (1, 8)


@checked
@dataclass(frozen=True)
class Settings:
    """What is compared.

    Attributes:
        specs: where the variants stand.
        guards: only these of them; empty for all.
        available: leave out guards that can't be loaded.
        repeats: of each call; one more warms up.
    """

    specs: tuple[str, ...] = ("results/steerdiff/spec.yaml", "results/forceforget/spec.yaml", "results/stack/spec.yaml")
    guards: tuple[str, ...] = ()
    available: bool = False
    model: str = "reference"
    concept: str = "weapons"
    repeats: Natural = 21
    steps: Natural = 20
    seed: Seed = 5000


class GuardCost(CostStudy):
    name = "guard_cost"
    Settings = Settings
    timed = tuple(f"batch {batch}" for batch in BATCHES)

    def cells(self) -> dict[str, Callable[[], Iterator[Row]]]:
        """One a batch size."""
        return {f"batch {batch}": partial(self.measure, "benign", batch) for batch in BATCHES}

    @property
    def compared(self) -> list[Variant]:
        return variants(self.settings)


def variants(asked: Settings) -> list[Variant]:
    """Those of the specs, no guard first.

    Raises:
        UnknownName: a guard that no spec has.
        ConfigError: one that can't be loaded, unless only the available ones are wanted.
    """
    known = {variant.title: variant for spec in asked.specs for variant in load_spec(spec).variants}
    names = {variant.guard for variant in known.values()}
    for guard in asked.guards:
        if guard not in names:
            raise UnknownName(registry.unknown("guard of the specs", guard, names))
    wanted = [variant for variant in known.values() if not asked.guards or variant.guard in (UNGUARDED, *asked.guards)]
    return [variant for variant in wanted if variant.guard == UNGUARDED or _stands(variant, asked)]


def _stands(variant: Variant, asked: Settings) -> bool:
    """Whether its guards can be loaded, where that is asked."""
    try:
        guards_of(variant, load_concept(asked.concept))
    except ConfigError:
        if not asked.available:
            raise
        return False
    return True
