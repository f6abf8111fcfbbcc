"""The policies that operators begin with: they are read, their guards exist and stand together."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanchion import load_guard
from stanchion.guards.stack import GuardStack
from stanchion.server.policy import load_policy

FILES = sorted((Path(__file__).parents[2] / "examples" / "policies").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_policy_is_read_and_its_guards_stand_together(file: Path) -> None:
    policy = load_policy(file)
    guards = [load_guard(name, rule.concept, **settings) for rule, name, settings in policy.guards()]
    assert len(GuardStack(*guards).guards) == len(guards)
    assert any(guard.stage == "output" for guard in guards)


def test_there_is_one_for_each_kind_of_operator() -> None:
    assert [file.stem for file in FILES] == ["research_demo", "school", "stock_pictures"]
