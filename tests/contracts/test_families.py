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
from stanchion.pipeline.proof.checksums import checksums
from stanchion.types import Decoded, Steered
from tiny_families.guards import KNIVES, guard

ROWS = support.table()
FIRST = {family.classes[0] for family in families()}
KINDS = [kind for family in families() for kind in family.classes]
ROUNDING = 4e-5  # of another batch: guidance's two predictions are asked for one by one, or together


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


def unguarded(plain, kind, steps):
    if (kind, steps) not in plain:
        plain[kind, steps] = tiny_families.draw(tiny_families.pipeline(kind), steps=steps)
    return plain[kind, steps]


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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in FIRST])
def test_guards_act_and_come_off(kind, plain):
    """Each alone; behind each the pipeline holds what it held, and behind all of them it draws the same bits."""
    pipe, before = tiny_families.pipeline(kind), unguarded(plain, kind, 1)
    held, idle = held_by(pipe), []
    for name in [row.guard.name for row in ROWS if row.kind == kind and row.state != "refused"]:
        steps = 2 if name == "sld" else 1  # where noise flows it acts from the second step on
        with guard(name, pipe).attach(pipe) as attachment:
            guarded = tiny_families.draw(pipe, steps=steps)
        if not any(attachment.last.acted) or near(guarded, unguarded(plain, kind, steps)):
            idle.append(name)
        assert held_by(pipe) == held, f"{name} left something behind"
    assert not idle
    assert same_bits(tiny_families.draw(pipe, steps=1), before)


def held_by(pipe):
    """Its class, its attributes, and of its modules the weights, hooks and own methods."""
    modules = [part for _, part in sorted(pipe.components.items()) if isinstance(part, torch.nn.Module)]
    layers = [layer for module in modules for layer in module.modules()]
    hooks = sum(len(layer._forward_pre_hooks) + len(layer._forward_hooks) for layer in layers)
    attributes = {name: id(value) for name, value in vars(pipe).items() if not name.startswith("_")}
    weights = checksums([parameter for module in modules for parameter in module.parameters()])
    return type(pipe), attributes, weights, hooks, sum("forward" in vars(layer) for layer in layers)


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
    torch.testing.assert_close(guarded, unguarded(plain, kind, 2), rtol=0, atol=ROUNDING)


def test_the_page_holds_the_matrix():
    page = Path(__file__).parents[2] / "docs" / "families.md"
    assert support.markdown() in page.read_text(encoding="utf-8")
