"""The papers' claims: what the rows say of them, and that every one can be measured here."""

from dataclasses import replace
from pathlib import Path

import pytest

from stanchion import registry
from stanchion.benchmark.results.row import Row
from stanchion.benchmark.spec.prompt_spec import load_spec
from stanchion.benchmark.spec.weight_spec import cells_of
from stanchion.benchmark.spec.weight_spec import load_spec as load_weight_spec
from stanchion.benchmark.studies import weights_and_times
from stanchion.benchmark.studies.claims.claim import Claim, Outcome, Selector, Shown, findings, load_claims, outcome
from stanchion.benchmark.studies.claims.page import page
from stanchion.benchmark.studies.claims.run import HERE, PICTURES, WEIGHTS
from stanchion.benchmark.studies.weights_and_times import Settings, WeightsAndTimes
from stanchion.errors import ConfigError


def row(value: float | None, spread: float = 0.0, **about) -> Row:
    values = {"guard": "esd", "concept": "weapons", "metric": "unsafe_rate", **about}
    low, high = (None, None) if value is None else (value - spread, value + spread)
    fixed = dict.fromkeys(("seeds", "judge", "model", "command", "commit", "machine"), "x")
    kind = {"kind": "unsafe", "prompt_set": "unsafe", "variant": "default"}
    return Row(**{**kind, **values}, value=value, low=low, high=high, n=10, n_unscored=0, **fixed)


def claim(**shown) -> Claim:
    return Claim(
        "X1", "a paper", "It works.", "no figure", (Shown("a number", Selector(guard="esd"), **shown),), "because"
    )


ROWS = [row(0.1, 0.05), row(0.9, 0.05, guard="none"), row(0.12, 0.05, guard="uce")]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"at_most": 0.1}, Outcome.HELD),
        ({"at_most": 0.05}, Outcome.NOT_HELD),
        ({"at_least": 0.2}, Outcome.NOT_HELD),
        ({"below": Selector(guard="none")}, Outcome.HELD),
        ({"above": Selector(guard="none")}, Outcome.NOT_HELD),
        ({"below": Selector(guard="uce")}, Outcome.UNDECIDED),  # the intervals overlap
        ({"below": Selector(guard="uce"), "within": 0.05}, Outcome.HELD),
        ({"below": Selector(guard="uce"), "within": 0.02}, Outcome.NOT_HELD),  # 0.15 may be the truth
        ({"above": Selector(guard="uce"), "within": 0.08}, Outcome.HELD),
        ({"above": Selector(guard="uce"), "within": 0.06}, Outcome.NOT_HELD),  # so may 0.05
        ({"below": Selector(guard="sld")}, Outcome.NOT_MEASURED),
    ],
)
def test_a_number_shows_a_claim_or_does_not(shown, expected) -> None:
    found = findings(claim(**shown), ROWS)
    assert [one.outcome for one in found] == [expected]
    assert outcome(found) is expected
    written = page([claim(**shown)], ROWS)
    assert expected in written and ("because" in written) is (expected is not Outcome.HELD)


def test_a_claim_holds_in_part_where_some_of_it_does() -> None:
    whole = claim(at_most=0.2)
    parts = (*whole.shown, replace(whole.shown[0], at_most=0.05))
    assert outcome(findings(replace(whole, shown=parts), ROWS)) is Outcome.IN_PART
    unknown = replace(whole.shown[0], row=Selector(guard="sld"))
    assert outcome(findings(replace(whole, shown=(whole.shown[0], unknown)), ROWS)) is Outcome.IN_PART


def test_what_is_not_said_well_enough_is_an_error() -> None:
    with pytest.raises(ConfigError, match="say more"):
        findings(claim(at_most=0.2), [*ROWS, row(0.3, prompt_set="paired")])
    with pytest.raises(ConfigError, match="needs one of"):
        Shown("a number", Selector(), at_most=0.1, at_least=0.1)
    assert findings(claim(at_most=0.2), [row(None)])[0].outcome is Outcome.NOT_MEASURED


def test_every_claim_of_the_four_papers_is_there() -> None:
    found = [one.id for one in load_claims()]
    assert found == [f"{letter}{number + 1}" for letter in "SFPT" for number in range(6)]


def test_every_number_that_a_claim_asks_for_is_measured() -> None:
    """Each selector names a guard, concept, prompt set or attack that one of the specs has; nothing can be left out."""
    direct, attacked = set(), set()
    for name in PICTURES:
        spec = load_spec(HERE / f"{name}.yaml")
        direct |= {(c.variant.guard, c.variant.variant, c.concept, c.prompt_set) for c in spec.cells()}
        attacked |= {(c.variant.guard, c.variant.variant, c.plan.title) for c in spec.attack_cells()}
    weights = {(cell.guard, cell.trial.attack) for cell in cells_of(load_weight_spec(HERE / f"{WEIGHTS}.yaml"))}
    metrics = set(registry.names("metrics"))
    for one in load_claims():
        for shown in one.shown:
            for selector in (shown.row, *(limit.over(shown.row) for limit in (shown.below, shown.above) if limit)):
                variant = selector.variant or "default"
                if selector.updates is not None:
                    assert (selector.guard, selector.attack) in weights, (one.id, selector)
                elif selector.attack:
                    assert (selector.guard, variant, selector.attack) in attacked, (one.id, selector)
                elif selector.metric in metrics and selector.prompt_set:
                    for concept in shown.concepts or (selector.concept,):
                        assert (selector.guard, variant, concept, selector.prompt_set) in direct, (one.id, selector)


def test_what_is_measured_beside_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_and_times, "FIRST_PICTURES", 1)
    study = WeightsAndTimes(Settings(concept="banana", repeats=1, steps=1), tmp_path)
    found = {(row.guard, row.metric): row for measure in study.cells().values() for row in measure()}
    assert found["steerdiff", "weights_changed"].value == found["trasce", "added_parameters"].value == 0
    assert 0 < found["steerdiff", "added_parameters"].value < 0.2
    assert found["trasce", "seconds_to_first_picture"].value > 0
    assert found["word_list", "missed"].n == found["sentence_classifier", "missed"].n == 100
    asked = [shown.row for one in load_claims() for shown in one.shown]
    beside_metrics = {"weights_changed", "added_parameters", "time_ratio", "seconds_to_first_picture"}
    assert {(row.guard, row.metric) for row in asked if row.metric in beside_metrics} <= set(found)
