"""Settings from the command line: typed as YAML, refused where they make no sense."""

import pytest

from stanchion.cli.drawing import parse_settings
from stanchion.errors import ConfigError


def test_values_are_read_as_yaml() -> None:
    assert parse_settings(["a.x=0.5", "a.y=true", "b.z=word", "a.l=[1, 2]"], ["a", "b"]) == {
        "a": {"x": 0.5, "y": True, "l": [1, 2]},
        "b": {"z": "word"},
    }


@pytest.mark.parametrize("bad", ["x=1", "a.x", "a.=1", ".x=1"])
def test_what_is_no_assignment_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError):
        parse_settings([bad], ["a"])


def test_settings_of_a_guard_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="unknown guard 'trase'; did you mean trasce"):
        parse_settings(["trase.x=1"], ["trasce"])
