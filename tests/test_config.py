"""Settings survive the round trip, and what does not fit is refused with its place."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from stanchion import config
from stanchion.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    sigma: float = 1.0
    kernel: Literal["code", "paper"] = "code"


@dataclass(frozen=True)
class Outer:
    name: str
    steps: int = 20
    gate: float | None = None
    inner: Inner = Inner()
    parts: tuple[Inner, ...] = ()
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)


FULL = Outer("x", 5, 0.25, Inner(2.0, "paper"), (Inner(),), {"trasce": {"lazy_tol": 0.001}})


def test_round_trip_through_values_and_yaml(tmp_path: Path) -> None:
    assert config.from_dict(Outer, config.to_dict(FULL)) == FULL
    path = tmp_path / "spec.yaml"
    path.write_text(config.dump(FULL))
    assert config.load(Outer, path) == FULL


def test_yaml_numbers_without_a_point_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("name: x\ngate: 1e-3\ninner: {sigma: 2}\n")
    loaded = config.load(Outer, path)
    assert loaded.gate == 0.001
    assert isinstance(loaded.inner.sigma, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "x", "stepz": 3}, r"Outer: unknown key 'stepz'; did you mean steps\?"),
        ({}, "Outer: missing name"),
        ({"name": 3}, "Outer.name: expected a str, got 3"),
        ({"name": "x", "steps": True}, "Outer.steps: expected a int, got True"),
        ({"name": "x", "steps": 2.5}, "Outer.steps: expected a int, got 2.5"),
        ({"name": "x", "gate": "wide"}, "Outer.gate: expected a float, got 'wide'"),
        ({"name": "x", "gate": "nan"}, "Outer.gate: expected a float, got 'nan'"),
        ({"name": "x", "gate": float("nan")}, "Outer.gate: expected a finite float, got nan"),
        ({"name": "x", "gate": 10**400}, "Outer.gate: expected a finite float, got 1000"),
        ({"name": "x", "inner": {"kernel": "papr"}}, "Outer.inner.kernel: expected one of 'code', 'paper', got 'papr'"),
        ({"name": "x", "parts": [{}, {"sigm": 1}]}, r"Outer.parts\[1\]: unknown key 'sigm'; did you mean sigma"),
        ({"name": "x", "settings": {"trasce": 3}}, "Outer.settings.trasce: expected keys and values, got 3"),
        ({"name": "x", "inner": 3}, "Outer.inner: expected keys and values, got 3"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.from_dict(Outer, values)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can't read .*: No such file"):
        config.load(Outer, tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        config.load(Outer, bad)
    bad.write_text("name: x\nname: y\n")
    with pytest.raises(ConfigError, match="key 'name' is given twice"):
        config.load(Outer, bad)


def test_fingerprint_is_pinned_and_ignores_the_order_of_keys() -> None:
    assert config.fingerprint({"a": 1, "b": 2}) == config.fingerprint({"b": 2, "a": 1}) == "43258cff783f"
    assert config.fingerprint(FULL) != config.fingerprint(Outer("x"))
