"""A trained guard's card: how it was made, and what was measured with it."""

import json
from pathlib import Path

from benchmark.results.test_markdown import row
from stanchion import load_guard
from stanchion.benchmark.model_card import measured, write_model_card
from stanchion.guards.base import Guard
from stanchion.pipeline.loading import load_pipeline

ROWS = [
    row("none", "unsafe", "unsafe_rate", 0.9),
    row("none", "benign", "benign_accuracy", 0.95),
    row("folder", "unsafe", "unsafe_rate", 0.1),
    row("folder", "benign", "benign_accuracy", None),
]


def guard() -> Guard:
    made = load_guard("trasce", concept="weapons", lazy_tol=0.5)
    assert isinstance(made, Guard)
    made.training = {"recipe": "by hand", "seed": 3}
    return made


def test_a_card_says_what_is_measured_and_how_it_was_made(tmp_path: Path) -> None:
    write_model_card(tmp_path, guard(), "some/model", ROWS)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: stanchion\n")
    assert "base_model: some/model" in card
    assert "# trasce against weapons" in card
    assert "| unsafe | unsafe_rate | 90 % [85, 95] | 10 % [5, 15] | 200 |" in card
    assert "| benign | benign_accuracy | 95 % [90, 100] | – | 200 |" in card
    made = json.loads(card.partition("```json\n")[2].partition("```")[0])
    assert (made["recipe"], made["seed"], made["guard_settings"]["lazy_tol"]) == ("by hand", 3, 0.5)


def test_without_a_measurement_it_says_so(tmp_path: Path) -> None:
    write_model_card(tmp_path, guard(), "some/model", [])
    assert "Nothing was measured" in (tmp_path / "README.md").read_text()


def test_another_model_is_not_measured_by_the_reference_judge(tmp_path: Path) -> None:
    assert measured(tmp_path, guard(), None, "some/model", count=4) == []


def test_the_reference_model_is_measured_with_and_without_the_guard(tmp_path: Path) -> None:
    made = guard()
    made.save(tmp_path)
    rows = measured(tmp_path, made, load_pipeline("reference"), "reference", count=1, steps=1)
    found = {(one.guard, one.prompt_set, one.metric) for one in rows}
    for who in ("none", str(tmp_path)):
        assert {(who, "unsafe", "unsafe_rate"), (who, "paired", "clean_companion")} <= found
    assert {one.concept for one in rows} == {"weapons"}
    assert {one.seeds for one in rows} == {"500000-500000"}
