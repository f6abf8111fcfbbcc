"""The page that helps to choose a guard: choose.md filled with rows, and the README's picture and table of them.

``python tests/pages/choose.py`` writes all three.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from stanchion.benchmark.report.charts.plots import pareto
from stanchion.benchmark.report.render import as_svg
from stanchion.benchmark.results.markdown import NOTHING, share, table
from stanchion.benchmark.results.row import Row, read_rows

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "choose.md"
PICTURE = ROOT / "docs" / "images" / "pareto.svg"
README = ROOT / "README.md"
PATRONUS = "patronus_hardening+patronus_moderator"
STACKS = ("recommended", "maximum")
NAMES = {"patronus": PATRONUS}
GUARDS = (
    *("none", *STACKS, "steerdiff", "forceforget", "trasce", PATRONUS),
    *("uce", "esd", "sld", "safree", "negative_prompt"),
)
TRAINED = ("steerdiff", "forceforget", "patronus", "uce", "esd", *STACKS)
ATTACKS = {
    "unlearn_diff_atk": "UnlearnDiffAtk",
    "ring_a_bell": "Ring-A-Bell",
    "ring_a_bell_embed": "Ring-A-Bell's vector",
    "mma_diffusion": "MMA-Diffusion",
    "p4d_n": "P4D-N",
    "p4d_k": "P4D-K",
}
ANEW = ("steerdiff", "trasce", "forceforget")  # trained anew, or loaded in another form, since results/redteam
EVERYBODY_MET = "soft_prompt"  # the one search that every guard of the picture stood
KEPT = (
    ("benign", "benign_accuracy"),
    ("neighbours", "neighbours_kept"),
    ("paired", "clean_companion"),
    ("benign_pairs", "benign_accuracy"),
    ("unsafe", "nothing_found"),
)
KEPT_HEADS = ("benign as asked", "neighbours kept", "clean companion", "harmless pairs kept", "nothing found")


def page() -> str:
    """All of it."""
    rows = Stored()
    text = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
    return re.sub(r"\{([^{}]+)\}", lambda found: rows.said(*found[1].split()), text)


def picture() -> str:
    """The worst adaptive attack against the neighbours that are lost, of the guards that met the same ones."""
    rows = Stored()
    kept = [row for row in rows.red if row.attack == "direct" or (row.adaptive and row.attack == EVERYBODY_MET)]
    shown = [(row, replace(row, guard=row.guard.replace(PATRONUS, "Patronus"))) for row in kept if row.guard in GUARDS]
    costs = {named.title: rows.time(row.guard) for row, named in shown if row.variant == "default"}
    times = {title: float(cost[2:]) for title, cost in costs.items() if cost != NOTHING}
    drawing = pareto([named for _, named in shown], times)
    assert drawing
    return as_svg(drawing)


def in_readme() -> str:
    """The README with its table as the rows have it."""
    table = Stored().summary().rstrip() + "\n"
    return re.sub(
        r"^\| guard \| drawn / in pairs .*?\n(?=\n)", lambda _: table, README.read_text("utf-8"), flags=re.M | re.S
    )


class Stored:
    """The rows of results/ that the page is made of."""

    def __init__(self) -> None:
        first = read_rows(ROOT / stored("plain"))
        loaded = read_rows(ROOT / stored("redteam_loaded"))
        stacks = list(_by_name(read_rows(ROOT / stored("stacks"))))
        measured = {(row.guard, row.attack, row.adaptive) for row in loaded}
        older = [row for row in read_rows(ROOT / stored("redteam")) if not _replaced(row, measured)]
        self.red = [*_by_name(first), *first, *loaded, *stacks, *older]
        cost = read_rows(ROOT / stored("guard_cost"))
        self.cost = [*_by_name(cost), *cost, *read_rows(ROOT / stored("patronus"))]

    def said(self, what: str, *about: str) -> str:
        """What stands in the place of a marker."""
        if what in ("holds", "costs"):
            return getattr(self, what)()
        if what == "where":
            return where()
        if what == "time":
            return self.time(*about)
        if what == "worst":
            row = self.worst(NAMES.get(about[0], about[0]), adaptive=True)
            assert row
            return f"{plain(row)} ({attack_of(row)})"
        return plain(self.direct(NAMES.get(what, what), *about))

    def holds(self) -> str:
        """The table of what a guard holds."""
        lines = []
        for guard in GUARDS:
            drawn = [share(self.direct(guard, prompts, "unsafe_rate")) for prompts in ("unsafe", "paired")]
            attacks = [attacked(self.worst(guard, adaptive=adaptive)) for adaptive in (False, True)]
            lines.append([f"`{title(guard)}`", *drawn, *attacks])
        return table(["guard", "drawn", "drawn in pairs", "worst static attack", "worst adaptive attack"], lines)

    def costs(self) -> str:
        """The table of what it keeps and costs."""
        lines = []
        for guard in GUARDS:
            kept = [share(self.direct(guard, *about)) for about in KEPT]
            trained = "yes" if any(name in guard for name in TRAINED) else "no"
            lines.append([f"`{title(guard)}`", *kept, self.time(guard), trained])
        return table(["guard", *KEPT_HEADS, "time", "trained"], lines)

    def summary(self) -> str:
        """The README's table: what each holds beside what it costs."""
        lines = []
        for guard in GUARDS:
            drawn = [plain(self.direct(guard, prompts, "unsafe_rate")) for prompts in ("unsafe", "paired")]
            kept = [plain(self.direct(guard, *about)) for about in KEPT]
            lines.append([f"`{title(guard)}`", " / ".join(drawn), said_short(self.worst(guard, adaptive=True)), *kept])
        return table(["guard", "drawn / in pairs", "worst white-box attack", *KEPT_HEADS], lines)

    def time(self, guard: str) -> str:
        """Against the unguarded pipeline."""
        for row in self.cost:
            same = row.guard == guard and row.metric == "time_ratio" and row.variant in ("default", "gated")
            if same and row.settings.get("batch") == 1:
                return f"× {row.value:.2f}"
        return NOTHING

    def direct(self, guard: str, prompts: str, metric: str) -> Row | None:
        """A number without an attack."""
        wanted = (guard, prompts, metric, "direct")
        return next((r for r in self.red if (r.guard, r.prompt_set, r.metric, r.attack) == wanted), None)

    def worst(self, guard: str, *, adaptive: bool) -> Row | None:
        """The attack that comes furthest, of those that could be scored on most of their prompts."""
        found = [r for r in self.red if (r.guard, r.metric, r.adaptive) == (guard, "asr", adaptive)]
        counted = (r for r in found if r.n > r.n_unscored or guard in STACKS)
        return max(counted, key=lambda row: row.value or 0.0, default=None)


def _by_name(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of stacks that have a name, which is their variant's."""
    return (replace(row, guard=row.variant, variant="default") for row in rows if row.variant in STACKS)


def _replaced(row: Row, measured: set[tuple[str, str, bool | None]]) -> bool:
    """Whether a row of results/redteam was measured again, or is of an artefact or form that is no longer loaded."""
    anew = any(guard in row.guard for guard in ANEW)
    return anew or (row.guard, row.attack, row.adaptive) in measured


def stored(study: str) -> str:
    """Where a study's rows lie."""
    return f"results/{study}/rows.json"


def where() -> str:
    """From the matrix of docs/families.md, which a test holds equal to what attaching does."""
    text = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
    heads = re.findall(r"^\| pipeline \| (.*) \|$", text, re.MULTILINE)[0].split(" | ")
    cells = [line.split(" | ") for line in re.findall(r"^\| (\w+Pipeline \| .*) \|$", text, re.MULTILINE)]
    lines = []
    for place, guard in enumerate(heads, 1):
        refused = [kind for kind, *states in cells if states[place - 1].startswith("no")]
        lines.append([f"`{guard}`", f"{len(cells) - len(refused)} of {len(cells)}", families(refused)])
    return table(["guard", "classes", "not on"], lines)


def families(kinds: Iterable[str]) -> str:
    """Pipeline classes in short: what image to image and inpainting are made from."""
    names = (re.sub(r"(Img2Img|Inpaint|Kontext|Klein)*Pipeline$", "", kind) for kind in kinds)
    return ", ".join(dict.fromkeys(names)) or NOTHING


def title(guard: str) -> str:
    """Patronus is both of its halves."""
    return guard.replace(PATRONUS, "Patronus")


def attacked(row: Row | None) -> str:
    """The number, and by what."""
    if row is None:
        return "not measured"
    refused = f", no picture made of {row.n_unscored} more" if row.n_unscored else ""
    return f"{share(row)}, {attack_of(row)}{refused}"


def said_short(row: Row | None) -> str:
    """The number without its interval, and by what."""
    if row is None:
        return NOTHING
    refused = f" ({row.n} of {row.n + row.n_unscored}, the others refused)" if row.n_unscored else ""
    return f"{plain(row)}, {attack_of(row)}{refused}"


def attack_of(row: Row) -> str:
    """As its paper calls it."""
    return ATTACKS.get(row.attack, row.attack.replace("_", " "))


def plain(row: Row | None) -> str:
    """Without the interval, which stands in the table."""
    return share(row).split(" [")[0]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    PICTURE.write_text(picture(), encoding="utf-8")
    README.write_text(in_readme(), encoding="utf-8")
