"""Settings from the command line: typed as YAML, refused where they make no sense."""

import pytest

from stanchion.cli.asked import parse_settings
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


@pytest.mark.parametrize("guard", ["runs/v1.2/mine.b", "runs/v1.2/mine.b/", "a=b/mine.b"])
def test_a_saved_guard_goes_by_its_path_or_its_folders_name_dots_and_all(guard: str) -> None:
    for name in (guard, "mine.b"):
        assert parse_settings([f"{name}.lazy_tol=0.5"], ["trasce", guard]) == {guard: {"lazy_tol": 0.5}}


def test_a_folders_name_that_two_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="a/x and b/x are both called so"):
        parse_settings(["x.k=1"], ["a/x", "b/x"])


@pytest.mark.parametrize(
    ("bad", "message"),
    [(["a.x=["], "not valid YAML"), (["a.x=1", "a.x=2"], "x is given twice")],
)
def test_values_that_cant_be_read_and_settings_given_twice(bad: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_settings(bad, ["a"])


def test_settings_of_a_guard_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="unknown guard 'trase'; did you mean trasce"):
        parse_settings(["trase.x=1"], ["trasce"])
