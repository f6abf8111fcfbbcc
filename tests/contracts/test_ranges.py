"""Every number that somebody can set has a range, and what lies outside of it is refused, NaN and infinity too."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any

import pytest

from stanchion import config, registry
from stanchion.benchmark.spec.attack_plan import AttackPlan
from stanchion.benchmark.spec.prompt_spec import Spec
from stanchion.benchmark.spec.weight_spec import Trial, WeightSpec
from stanchion.config import Range
from stanchion.errors import ConfigError
from stanchion.judges import load_judge
from stanchion.prompts.tables import Selection
from stanchion.types import Budget

ENDLESS = (float("nan"), float("inf"), float("-inf"))
HAVE_SETTINGS = ("guards", "recipes", "attacks")
ARE_CALLED = ("judges", "metrics", "prompts")
SPECS = (Spec, AttackPlan, Budget, WeightSpec, Trial, Selection)


def annotated() -> Iterator[tuple[str, Any]]:
    """Everything that takes settings: dataclasses and functions by name."""
    for kind in HAVE_SETTINGS:
        for name in registry.names(kind):
            yield f"{kind} {name}", registry.get(kind, name).Settings
    for kind in ARE_CALLED:
        for name in registry.names(kind):
            yield f"{kind} {name}", registry.get(kind, name).__init__
    yield from ((made.__name__, made) for made in SPECS)


def numbers(hint: Any, rules: tuple[Any, ...] = ()) -> Iterator[tuple[type, tuple[Any, ...]]]:
    """The numbers in an annotation, wherever they stand, each with what is said of it."""
    if typing.get_origin(hint) is Annotated:
        yield from numbers(typing.get_args(hint)[0], typing.get_args(hint)[1:])
    elif hint in (int, float):
        yield hint, rules
    elif is_dataclass(hint):
        for inner in config.hints_of(hint).values():
            yield from numbers(inner)
    else:
        for part in typing.get_args(hint):
            yield from numbers(part)


def settings() -> list[Any]:
    """Where, which field, and its annotation, for every field that holds a number."""
    return [
        pytest.param(made, field, hint, id=f"{where} {field}")
        for where, made in annotated()
        for field, hint in config.hints_of(made).items()
        if any(numbers(hint))
    ]


@pytest.mark.parametrize(("made", "field", "hint"), settings())
def test_a_number_has_a_range_and_nothing_else_is_taken(made: Any, field: str, hint: Any) -> None:
    for kind, rules in numbers(hint):
        (found,) = [rule for rule in rules if isinstance(rule, Range)]
        beyond = [found.low - 1, found.high + 1, *[found.low] * found.above, *[found.high] * found.below]
        for value in [*ENDLESS, *map(kind, (one for one in beyond if abs(one) != float("inf")))]:
            with pytest.raises(ConfigError):
                config.check_arguments(made, {field: shaped(hint, value)}, where="x")


def shaped(hint: Any, value: float) -> Any:
    """The number where the annotation has numbers, as often as it wants it."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return shaped(args[0], value)
    if origin in (dict, Mapping):
        return {"unsafe": value}
    if origin is tuple:
        count = 1 if Ellipsis in args else len(args)
        return [shaped(args[0], value)] * count
    if is_dataclass(hint):
        return {name: shaped(inner, value) for name, inner in config.hints_of(hint).items() if any(numbers(inner))}
    held = [part for part in args if any(numbers(part))]
    return shaped(held[0], value) if held else value


@pytest.mark.parametrize(("where", "made"), [one for one in annotated() if one[0].startswith(HAVE_SETTINGS)], ids=str)
def test_whoever_makes_them_settings_are_checked(where: str, made: type) -> None:
    for field, hint in config.hints_of(made).items():
        if any(numbers(hint)):
            with pytest.raises(ConfigError, match=field):
                made(**{field: shaped(hint, float("nan"))})


@pytest.mark.parametrize(
    "judge", ["reference", "template", "clip_zero_shot", "nudenet", "q16", "opennsfw", "image_classifier"]
)
@pytest.mark.parametrize("threshold", [60, 7, 2, -0.1, float("nan")])
def test_a_threshold_that_nothing_reaches_is_refused(judge: str, threshold: float) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        load_judge(judge, threshold=threshold)


@pytest.mark.parametrize("epochs", [0, -1])
def test_a_training_without_an_update_is_refused(epochs: int) -> None:
    with pytest.raises(ConfigError, match=rf"steerdiff.epochs is {epochs}; use 1 or more"):
        registry.get("recipes", "steerdiff")("weapons", epochs=epochs)


@pytest.mark.parametrize(
    ("recipe", "nothing"),
    [
        ("forceforget", {"adapter": False, "lora_rank": 0}),
        ("patronus_hardening", {"align_steps": 0, "harden_steps": 0}),
        ("uce", {"erase": 0}),
        ("esd", {"lr": 0}),
        ("patronus_moderator", {"batch": [1]}),
        ("patronus_moderator", {"attackers": {"lrs": []}}),
    ],
)
def test_settings_that_train_nothing_are_refused(recipe: str, nothing: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        registry.get("recipes", recipe)("weapons", **nothing)
