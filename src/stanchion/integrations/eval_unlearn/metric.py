"""The metric ``stanchion_unsafe_rate`` of eval-unlearn: one of our judges, for which an unread picture is not safe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from ... import config
from ...concepts import load_concept
from ...config import Filled, Natural, checked
from ...errors import ConfigError
from ...judges import load_judge
from ...metrics.intervals import wilson
from ...types import Labels, Unscored
from .prompts import RETAIN, TARGET, Batch, load_prompts


@checked
@dataclass(frozen=True)
class MetricSettings:
    """``metric.config`` of a run.

    Attributes:
        concept_name: a built-in name or a YAML file: what the judge looks for.
        target_prompts_path, retain_prompts_path: files of prompts that ask for it, and of those that do not.
        limit: rows of each file; None for all.
        batch_size: prompts that the harness sends together; no number depends on it.
        judge, judge_settings: who looks.
    """

    concept_name: Annotated[str, Filled()]
    target_prompts_path: Annotated[str, Filled()]
    retain_prompts_path: str | None = None
    limit: Natural | None = None
    batch_size: Natural = 32
    judge: str = "reference"
    judge_settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricResult:
    """What the harness asks of a result; ``value`` is None where nobody knows."""

    name: str
    value: float | None
    details: dict[str, Any]


@dataclass
class Tally:
    """Pictures that show it, that were judged, and that the judge could not read."""

    hits: int = 0
    n: int = 0
    unscored: int = 0
    reasons: set[str] = field(default_factory=set)

    def add(self, found: bool | None, reason: str) -> None:
        """One picture; ``found`` is None where the judge can't tell."""
        if found is None:
            self.unscored += 1
            self.reasons.add(reason)
            return
        self.hits, self.n = self.hits + found, self.n + 1

    @property
    def share(self) -> float | None:
        """Of those that were judged; None where none was."""
        return self.hits / self.n if self.n else None

    def told(self) -> dict[str, Any]:
        """As the report keeps it, with a 95 % Wilson interval."""
        low, high = wilson(self.hits, self.n) if self.n else (None, None)
        about = {"n": self.n, "n_unscored": self.unscored, "unscored_because": sorted(self.reasons)}
        return {"value": self.share, "low": low, "high": high, **about}


class JudgedUnsafeRate:
    """The share of target prompts whose picture shows the concept; beside it how it is with the others.

    A picture goes to the tally that its own row names, in whatever batch it comes. One that the judge could not read
    is counted apart; where it could read none, the value is None.

    Raises:
        ConfigError: an unknown key, or a judge that can't be had.
    """

    def __init__(self, **values: Any) -> None:
        self.config = config.from_dict(MetricSettings, values, where="metric.config")
        self.concept = load_concept(self.config.concept_name)
        self.judge = load_judge(self.config.judge, **self.config.judge_settings)
        self._tallies: dict[str, Tally] = {}

    def load_dataset(self) -> list[Batch]:
        """The batches; what was counted before is forgotten."""
        chosen = self.config
        self._tallies = {"unsafe": Tally(), "retain_unsafe": Tally(), "retain_kept": Tally()}
        return load_prompts(
            chosen.target_prompts_path, chosen.concept_name, chosen.retain_prompts_path, chosen.limit, chosen.batch_size
        )

    def update(self, images: Sequence[Any], prompts: Sequence[str], metadata: Mapping[str, Any] | None = None) -> None:
        """Judge a batch.

        Raises:
            ConfigError: the batch is not of ``load_dataset``, or a prompt has no picture.
        """
        about = metadata or {}
        rows = about.get("categories", ()), about.get("objects", ())
        if not len(images) == len(prompts) == len(rows[0]) == len(rows[1]):
            raise ConfigError(f"{len(images)} pictures for {len(prompts)} prompts, whose rows are {len(rows[0])}.")
        for labels, category, wanted in zip(self.judge.detect(images), *rows, strict=True):
            verdict = self.judge.verdict(labels, self.concept)
            self._tallies[{TARGET: "unsafe", RETAIN: "retain_unsafe"}[category]].add(verdict.unsafe, verdict.reason)
            if category == RETAIN and wanted:
                self._tallies["retain_kept"].add(*_shows(labels, wanted))

    def compute(self) -> MetricResult:
        """The unsafe rate, in [0, 1]."""
        told = {name: tally.told() for name, tally in self._tallies.items()}
        about = {"concept": self.concept.name, "judge": self.judge.identity, "config": asdict(self.config)}
        return MetricResult("unsafe_rate", told["unsafe"]["value"], {**told, **about})


def _shows(labels: Labels | Unscored, wanted: str) -> tuple[bool | None, str]:
    """Whether the judge saw what the row asks for; None where it does not know the word."""
    if isinstance(labels, Unscored):
        return None, labels.reason
    if wanted not in labels.scores:
        return None, f"the judge does not know {wanted!r}"
    return wanted in labels.objects, ""
