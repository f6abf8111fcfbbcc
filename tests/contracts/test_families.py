"""Every guard on every family: it acts and comes off without a trace, or is refused at attach with the reason.

Rows come from the table that ``stanchion list families`` prints. Identity guards of each stage say that a family's
predictions, conditions and layers are the pipeline's own.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tiny_families
from closeness import near, same_bits
from small_guards import Identity
from stanchion import GuardStack, UnsupportedPipeline
from stanchion.guards import support
from stanchion.guards.base import AttentionGuard, DecoderGuard, TextGuard
from stanchion.pipeline.families import families, family_of
from stanchion.types import Decoded, Steered
from tiny_families.guards import KNIVES, guard

ROWS = support.table()
FIRST = {family.classes[0] for family in families()}
KINDS = [kind for family in families() for kind in family.classes]
ROUNDING = 4e-5  # of another batch: guidance's two predictions are asked for one by one, or together


def named(row):
    return f"{row.guard.name}-{row.kind}"


class SameAttention(AttentionGuard):
    """Gives back what it is shown."""

    name = "same_attention"

    def project(self, layer, which, context, projected, state):
        return projected


class SameDecoder(DecoderGuard):
    """Gives back what is decoded."""

    name = "same_decoder"

    def decode(self, latents, decode, state):
        return Decoded(decode(latents), torch.zeros(len(latents), dtype=torch.bool))


class SameText(TextGuard):
    """Gives back what it is asked."""

    name = "same_text"

    def steer(self, embeds, state):
        return Steered(embeds.embeds, torch.zeros(len(embeds.embeds), dtype=torch.bool))


SAME = [Identity(), SameAttention(KNIVES), SameDecoder(KNIVES), SameText(KNIVES)]


@pytest.fixture(scope="module")
def plain():
    """What each pipeline draws without a guard, drawn once."""
    return {}


def unguarded(plain, kind):
    if kind not in plain:
        plain[kind] = tiny_families.draw(tiny_families.pipeline(kind))
    return plain[kind]


def test_every_class_of_every_family_has_a_tiny_pipeline():
    assert sorted(tiny_families.TINY) == sorted(KINDS)
    for name, kinds in tiny_families.BY_FAMILY.items():
        assert {family_of(tiny_families.pipeline(kind)).name for kind in kinds} == {name}


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.state == "refused"], ids=lambda r: f"{r.guard.name}-{r.kind}"
)
def test_what_is_refused_is_refused_at_attach_with_the_reason(row):
    pipe = tiny_families.pipeline(row.kind)
    with pytest.raises(UnsupportedPipeline) as refusal:
        guard(row.guard.name, pipe).attach(pipe)
    assert row.why in str(refusal.value) and row.kind in str(refusal.value)
    assert type(pipe).__name__ == row.kind and not hasattr(type(pipe), "_stanchion")


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.state != "refused" and row.kind in FIRST],
    ids=named,
)
def test_a_guard_acts_and_comes_off(row, plain):
    pipe = tiny_families.pipeline(row.kind)
    before = unguarded(plain, row.kind)
    with guard(row.guard.name, pipe).attach(pipe) as attachment:
        guarded = tiny_families.draw(pipe)
        assert any(attachment.last.acted)
    assert not near(guarded, before)
    assert same_bits(tiny_families.draw(pipe), before)


@pytest.mark.parametrize("kind", KINDS)
def test_guards_that_change_nothing_change_nothing(kind, plain):
    """One at each place, all at once: alone they are asked by the test above."""
    pipe = tiny_families.pipeline(kind)
    for same in (same for same in SAME if family_of(pipe).refusal(same, kind)):
        with pytest.raises(UnsupportedPipeline, match="can't stand on"):
            same.attach(pipe)
    with GuardStack(*(same for same in SAME if not family_of(pipe).refusal(same, kind))).attach(pipe) as attachment:
        guarded = tiny_families.draw(pipe)
        assert attachment.last.steps >= 1
    torch.testing.assert_close(guarded, unguarded(plain, kind), rtol=0, atol=ROUNDING)


def test_the_page_holds_the_matrix():
    page = Path(__file__).parents[2] / "docs" / "families.md"
    assert support.markdown() in page.read_text(encoding="utf-8")
