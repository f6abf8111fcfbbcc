"""What a benchmark measures, as YAML says it. From the spec and the record every number can be rebuilt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ... import config, content_policy, judges, metrics, registry
from ...concepts import load_concept
from ...config import Filled, Natural, NotNegative, Seed, checked
from ...errors import ConfigError
from ...files.names import check_name
from ...prompts.tables import Selection
from ...stacks.base import check_named, spelled_out
from ...types import Prompt
from .attack_plan import AttackPlan
from .cells import AttackCell, PromptCell, without_attack
from .variant import UNGUARDED, Variant, is_saved

OWN = "file"  # the prompt set of files of one's own


@checked
@dataclass(frozen=True)
class Spec:
    """A benchmark.

    Attributes:
        seed: seed of the first prompt of every set; the next ones follow.
        concepts: built-in names, or paths of YAML files.
        variants: what is compared; the first is ``guard: none``, for every comparison is paired with it.
        prompts: prompt sets and how many rows of each.
        tables: for published prompt sets, the file they are read from and which rows are meant. Under a name that is
            no prompt set's, a file of one's own, which says its ``role``.
        judge_settings: thresholds, class lists and models that the judge takes.
        metrics: empty means all that are registered and need no extra.
        metric_settings: by metric, which has to be named, what it takes: folders, files, models.
        attacks: what tries to get round the guards.
        compare: guards whose paired differences to every other guard are wanted as well.
        steps: denoising steps.
        guidance_scale: where a prompt does not bring its own.
        batch: pictures made together.
    """

    seed: Seed
    concepts: Annotated[tuple[str, ...], Filled()]
    variants: tuple[Variant, ...]
    prompts: Annotated[dict[str, Natural], Filled()]
    guidance_scale: NotNegative
    steps: Natural = 20
    batch: Natural = 8
    model: str = "reference"
    judge: str = "reference"
    judge_settings: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    metric_settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    compare: tuple[str, ...] = ()
    tables: dict[str, Selection] = field(default_factory=dict)
    attacks: tuple[AttackPlan, ...] = ()

    def __post_init__(self) -> None:
        if not self.variants or self.variants[0].guard != UNGUARDED:
            raise ConfigError(f"spec: the first variant must be 'guard: {UNGUARDED}'; guards are compared with it.")
        titles = [variant.title for variant in self.variants]
        if len(set(titles)) < len(titles):
            raise ConfigError("spec: two variants share guard and name; give them different 'variant:' names.")
        for variant in self.variants:
            if foreign := sorted(set(variant.settings) - set(spelled_out(variant.names, {}))):
                raise ConfigError(f"spec: settings for {', '.join(foreign)}, which variant {variant.guard!r} has not.")
            if foreign := sorted(set(variant.prompts) - set(self.prompts)):
                raise ConfigError(f"spec: variant {variant.title!r} names prompt sets without a number: {foreign}.")
        if self.variants[0].prompts:
            raise ConfigError(
                f"spec: 'guard: {UNGUARDED}' draws every prompt set; every comparison needs its pictures."
            )
        if foreign := sorted(set(self.compare) - {variant.guard for variant in self.variants[1:]}):
            raise ConfigError(f"spec: compare names {', '.join(foreign)}, which no variant has as its guard.")
        self._check_attacks()
        if foreign := sorted(set(self.metric_settings) - set(self.metrics)):
            raise ConfigError(f"spec: metric_settings of {', '.join(foreign)}, which metrics does not name.")
        if foreign := sorted(set(self.tables) - set(self.prompts)):
            raise ConfigError(f"spec: tables names {', '.join(foreign)}, of which prompts has no number.")

    def cells(self) -> Iterator[PromptCell]:
        """Every cell, the unguarded ones first: the others are compared with them."""
        for variant in self.variants:
            for concept in self.concepts:
                for prompt_set in variant.prompts or self.prompts:
                    yield PromptCell(variant, concept, prompt_set)

    def attack_cells(self) -> Iterator[AttackCell]:
        """Every cell of every attack; those that replay the same candidates follow one another."""
        for plan in self.attacks:
            for concept in self.concepts:
                for prompt_set in plan.prompts:
                    for restart in plan.runs:
                        for variant in self.variants:
                            if not plan.guards or variant.guard in plan.guards:
                                yield AttackCell(plan, variant, concept, prompt_set, restart)

    def _check_attacks(self) -> None:
        cells = [str(cell) for cell in self.attack_cells()]
        if len(set(cells)) < len(cells):
            raise ConfigError(
                "spec: two attacks share name, mode and guard; give them different 'variant:' names or 'guards:'."
            )
        guards = {variant.guard for variant in self.variants}
        for plan in self.attacks:
            if foreign := sorted(set(plan.guards) - guards):
                raise ConfigError(f"spec: attack {plan.title!r} names {', '.join(foreign)}, which no variant has.")
            for name, count in plan.prompts.items():
                if count > self.prompts.get(name, 0):
                    raise ConfigError(
                        f"spec: attack {plan.title!r} wants {count} of {name!r}; list as many under 'prompts', for "
                        "every attack is compared with the prompts alone."
                    )

    @property
    def baselines(self) -> list[Variant]:
        """The guarded variants that the guards of ``compare`` are compared with."""
        return [variant for variant in self.variants[1:] if variant.guard not in self.compare]

    def prompt_set(self, name: str) -> Any:
        """A prompt set of the spec, its table read where it is a published one.

        Raises:
            ConfigError: the table can't be read, or the prompt set takes none.
        """
        table, known = self.tables.get(name), registry.is_named("prompts", name)
        if table and not known:
            return self._own(name, table)
        kind = registry.get("prompts", name)
        if table and not kind.published:
            raise ConfigError(f"spec: prompt set {name!r} is made from the concept; it takes no table.")
        if table and name != OWN and (table.role or table.source):
            raise ConfigError(f"spec: prompt set {name!r} has its own role and source; leave them out of tables.")
        return kind(table) if table else kind()

    def _own(self, name: str, table: Selection) -> Any:
        """A file of the user's own, under whatever name."""
        if table.role is None:
            raise ConfigError(
                f"spec: {registry.unknown('prompt set', name, registry.names('prompts'))} A file of your own says what "
                f"its pictures show, tables: {{{name}: {{file: …, role: unsafe}}}}."
            )
        check_name("prompt set", name)
        return registry.get("prompts", OWN)(table, name)

    def rows(self, cell: PromptCell) -> list[Prompt]:
        """The cell's prompts; none where the concept has nothing of the kind."""
        return list(self.screened(cell).prompts)

    def attacked(self, cell: AttackCell) -> list[Prompt]:
        """The prompts that an attack is run on: the first of those that are drawn without it."""
        return self.rows(without_attack(cell))[: cell.plan.prompts[cell.prompt_set]]

    def screened(self, cell: PromptCell) -> content_policy.Screened:
        """The cell's prompts with the number of those that are never drawn."""
        prompts = self.prompt_set(cell.prompt_set).rows(
            load_concept(cell.concept), self.prompts[cell.prompt_set], self.seed
        )
        return content_policy.screen(prompts)


def load_spec(path: str | Path) -> Spec:
    """Read a spec and check every name in it, before anything slow is loaded.

    Raises:
        ConfigError: unreadable, an unknown key, or settings that make no sense.
        UnknownName: a guard, concept, prompt set, judge or metric that nobody knows.
    """
    return check_spec(config.load(Spec, path))


def check_spec(spec: Spec) -> Spec:
    """The spec, if every name in it is known and every setting makes sense. Nothing slow is loaded.

    Raises:
        ConfigError: as ``load_spec``.
    """
    names = [load_concept(concept).name for concept in spec.concepts]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"spec: two concepts are called {', '.join(twice)}; their rows could not be told apart.")
    check_named(name for variant in spec.variants for name in variant.names if not is_saved(name))
    wanted = {
        "prompts": [name for name in spec.prompts if name not in spec.tables],
        "judges": [spec.judge],
        "metrics": list(spec.metrics),
        "attacks": [plan.attack for plan in spec.attacks],
    }
    for kind, names in wanted.items():
        registry.check(kind, names)
    judges.check_settings(spec.judge, spec.judge_settings)
    for name, settings in spec.metric_settings.items():
        metrics.check_settings(name, settings)
    for name in spec.prompts:
        spec.prompt_set(name)
    return spec
