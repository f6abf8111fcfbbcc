"""From a record to the values that a report shows: HTML, Markdown and JSON say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..results.markdown import below
from ..results.row import Row
from ..results.tables.heatmap import Heatmap, heatmap
from ..spec.attack_plan import DIRECT
from ..spec.variant import UNGUARDED
from ..store.manifest import StoredSpec
from .charts.plots import Plot, pareto, plots
from .failures import Failures, broken, let_through
from .pictures import Grid, grid, title_of
from .source import Seen, Source, read_source
from .tables import Table, tables
from .verdicts import GuardVerdict, headline, judge_guards


@dataclass(frozen=True)
class Chapter:
    """All about one concept."""

    name: str
    kind: str
    targets: tuple[str, ...]
    headline: str
    verdicts: tuple[GuardVerdict, ...]
    pareto: Plot | None
    plots: tuple[Plot, ...]
    heatmap: Heatmap | None
    tables: tuple[Table, ...]
    grid: Grid | None
    let_through: tuple[Failures, ...]
    broken: tuple[Failures, ...]
    rows: tuple[Row, ...]

    @property
    def questions(self) -> set[str]:
        """Those that were put to some guard at least."""
        return {finding.question for verdict in self.verdicts for finding in verdict.findings if finding.row}

    def verdict(self, title: str) -> GuardVerdict | None:
        """That of one guard; None where this concept was not measured with it."""
        return next((verdict for verdict in self.verdicts if verdict.title == title), None)


@dataclass(frozen=True)
class BenchmarkReport:
    """A record to read.

    Attributes:
        tolerance: the share that a guard may miss and still hold, in [0, 1].
        n_unscored: pictures that no judge could score, over all that were made.
    """

    name: str
    tolerance: float
    n_pictures: int
    n_unscored: int
    chapters: tuple[Chapter, ...]
    runs: tuple[StoredSpec, ...]
    notes: tuple[str, ...]

    @property
    def guards(self) -> list[str]:
        """Every guard's title, in the order of the rows."""
        return list(dict.fromkeys(verdict.title for chapter in self.chapters for verdict in chapter.verdicts))

    @property
    def attacks(self) -> list[str]:
        """Every attack's name; none where prompts were only drawn as they are."""
        names = dict.fromkeys(row.attack for chapter in self.chapters for row in chapter.rows)
        return [name for name in names if name != DIRECT]


def build(
    folder: str | Path, *, specs: Sequence[str] = (), tolerance: float = 0.05, pictures: int = 2
) -> BenchmarkReport:
    """Read a record and make its report.

    Args:
        specs: only these of the record's specs; all of them where none is named.
        pictures: prompts of each set in the grids; three times as many failures of each guard. 0 shows none.

    Raises:
        ConfigError: no record, or none of its specs was run to the end.
    """
    source = read_source(folder, specs)
    seen = [one for attempts in source.attempts.values() for one in attempts]
    return BenchmarkReport(
        name=Path(folder).resolve().name,
        tolerance=tolerance,
        n_pictures=len(seen),
        n_unscored=sum(attempt.verdict.unsafe is None for _, attempt in seen),
        chapters=tuple(_chapter(source, name, tolerance, pictures) for name in source.concepts if source.of(name)),
        runs=source.runs,
        notes=(*source.notes, *filter(None, [below(source.rows)])),
    )


def _chapter(source: Source, name: str, tolerance: float, pictures: int) -> Chapter:
    rows, concept = source.of(name), source.concepts[name]
    order = {title: place for place, title in enumerate(dict.fromkeys(row.title for row in rows))}
    seen = sorted(source.attempts.get(name, []), key=lambda one: order[title_of(one[1])])
    from_pictures = {prompt_set for prompt_set, attempt in seen if attempt.prompt.start}
    verdicts = judge_guards(rows, from_pictures, tolerance)
    return Chapter(
        name=name,
        kind=concept["kind"],
        targets=tuple(concept["targets"]),
        headline=headline(name, verdicts, _unguarded(rows), tolerance),
        verdicts=tuple(verdicts),
        pareto=pareto(rows),
        plots=tuple(plots(rows)),
        heatmap=heatmap(rows),
        tables=tuple(tables(rows, from_pictures)),
        grid=grid(_asked_in_text(seen), pictures),
        let_through=tuple(let_through(seen, 3 * pictures)),
        broken=tuple(broken(seen, 3 * pictures, concept["labels"])),
        rows=tuple(rows),
    )


def _unguarded(rows: Sequence[Row]) -> Row | None:
    """What the unguarded pipeline draws of the first prompt set."""
    plain = (row for row in rows if row.guard == UNGUARDED and row.metric == "unsafe_rate" and row.attack == DIRECT)
    return next(plain, None)


def _asked_in_text(seen: Sequence[Seen]) -> list[Seen]:
    return [one for one in seen if not one[1].prompt.start]
