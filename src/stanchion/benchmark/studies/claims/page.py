"""The claims as a page: what the paper says, what was measured here, and whether it held."""

from __future__ import annotations

from collections.abc import Sequence

from ...results.markdown import below, table
from ...results.row import Row
from ...results.units import unit_of
from .claim import Claim, ClaimFinding, Outcome, findings, outcome

HEAD = """# The four papers' claims on the reference model

Each claim of the four abstracts, in our words, and what would show it here. *Held* means that all of it was seen,
*in part* some of it, *not held* none; a comparison whose intervals overlap is *undecided* and counts as not seen. The
papers measured on Stable Diffusion 1.4 with real pictures, we on a small model of drawn ones: that a claim holds here
says that the method does what it says, not that it does so on another model. `stanchion bench claims` measures all of
it again.

"""


def page(claims: Sequence[Claim], rows: Sequence[Row]) -> str:
    """Markdown: a table of all claims, then what was seen for each."""
    seen = {claim.id: findings(claim, rows) for claim in claims}
    lines = [
        [f"[{claim.id}](#{claim.id.lower()})", claim.claim, claim.reported, _mark(outcome(seen[claim.id]))]
        for claim in claims
    ]
    parts = [_details(claim, seen[claim.id]) for claim in claims]
    return (
        HEAD
        + table(["", "claim", "the paper reports", "here"], lines)
        + "\n\n"
        + "\n".join([*parts, *filter(None, [below(rows)])])
    )


def _details(claim: Claim, found: Sequence[ClaimFinding]) -> str:
    said = outcome(found)
    lines = [f"## {claim.id}", "", f"{claim.source}. {claim.claim} **{said.capitalize()}**.", ""]
    cells = [
        [
            one.shown.say,
            one.concept or "–",
            _number(one.row),
            _number(one.other) if one.other else _bound(one),
            one.outcome,
        ]
        for one in found
    ]
    lines.append(table(["what would show it", "concept", "measured", "against", ""], cells))
    if claim.reason and said is not Outcome.HELD:
        lines += ["", f"Why: {claim.reason}"]
    return "\n".join([*lines, ""])


def _number(row: Row | None) -> str:
    """Value, interval and count; who it is where another number stands beside it."""
    if row is None or row.value is None:
        return "–"
    unit = unit_of(row.metric)
    spread = "" if row.low is None or row.high is None else f" [{unit.number(row.low)}, {unit.number(row.high)}]"
    return f"{unit.number(row.value)}{spread}{' %' if unit.sign == '%' else ''}, n = {row.n} ({row.title})"


def _bound(one: ClaimFinding) -> str:
    shown, unit = one.shown, unit_of(one.shown.row.metric or "")
    sign = " %" if unit.sign == "%" else ""
    if shown.at_most is not None:
        return f"at most {unit.number(shown.at_most)}{sign}"
    if shown.at_least is not None:
        return f"at least {unit.number(shown.at_least)}{sign}"
    return "–"


def _mark(said: Outcome) -> str:
    return f"**{said}**" if said in (Outcome.HELD, Outcome.NOT_HELD) else said
