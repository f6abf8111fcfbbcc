"""What is served without a policy, and with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanchion import ConfigError
from stanchion.cli.serve import chosen_policy


def test_without_a_policy_there_is_a_playground_on_one_s_own_machine_only():
    own = chosen_policy(None, None, "127.0.0.1", Path("runs/red"))
    assert own.playground.enabled and own.playground.unguarded and own.playground.record == Path("runs/red")
    assert not chosen_policy(None, None, "0.0.0.0", None).playground.enabled


def test_another_model_is_not_drawn_without_guards():
    settings = chosen_policy(None, "some/model", "localhost", None).playground
    assert settings.enabled and not settings.unguarded


def test_a_policy_decides_by_itself(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text("concepts: [{concept: weapons, guards: [picture_check], when: refuse}]\n")
    assert not chosen_policy(file, None, "127.0.0.1", None).playground.enabled
    with pytest.raises(ConfigError, match="is off"):
        chosen_policy(file, None, "127.0.0.1", tmp_path)


def test_replicas_draw_without_a_playground(tmp_path):
    assert not chosen_policy(None, None, "127.0.0.1", None, replicated=True).playground.enabled
    file = tmp_path / "policy.yaml"
    file.write_text("playground: {enabled: true}\n")
    with pytest.raises(ConfigError, match="--ray"):
        chosen_policy(file, None, "127.0.0.1", None, replicated=True)
