"""Settings: dataclass <-> plain values <-> YAML. An unknown key is an error; a hash names a configuration."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import abc
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from .documents import read_yaml
from .errors import ConfigError
from .registry import unknown

T = TypeVar("T")


def from_dict(cls: type[T], values: Mapping[str, Any], *, where: str = "") -> T:
    """Build a dataclass from plain values, nested ones included.

    Args:
        where: the path of keys so far, for messages.

    Raises:
        ConfigError: a key that the dataclass does not have (the nearest is named), a missing key, or a value of
            another type than the field's.
    """
    where = where or cls.__name__
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected keys and values, got {values!r}.")
    hints, needed = _shape(cls)  # type: ignore[arg-type]
    for key in values:
        if key not in hints:
            raise ConfigError(f"{where}: {unknown('key', str(key), hints)}")
    if missing := sorted(needed - set(values)):
        raise ConfigError(f"{where}: missing {', '.join(missing)}.")
    return cls(**{key: convert(hints[key], value, f"{where}.{key}") for key, value in values.items()})


@cache  # a record has a hundred thousand lines of one shape
def _shape(cls: type) -> tuple[dict[str, Any], frozenset[str]]:
    """The type of each key, and the keys that can't be left out."""
    known = {field.name: field for field in fields(cls) if field.init}
    needed = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    hints = get_type_hints(cls)
    return {name: hints[name] for name in known}, frozenset(needed)


def restore(hint: type[T], values: Any, *, where: str) -> T:
    """The dataclass, or the list of them, that was written whole: nothing may be left out, for defaults are no data.

    Raises:
        ConfigError: a missing or unknown key at any depth, or a value of another type.
    """
    made = convert(hint, values, where)
    if missing := _missing(made, values):
        raise ConfigError(f"{where}{missing} is missing; it was written whole.")
    return made


def _missing(made: Any, values: Any) -> str:
    """The path of the first key that plain values lack of a dataclass that was made of them; empty for none."""
    if is_dataclass(made):
        keys = _shape(type(made))[0]  # type: ignore[arg-type]
        return next((f".{key}" for key in keys if key not in values), "") or _first_missing(
            (f".{key}", getattr(made, key), values[key]) for key in keys
        )
    if isinstance(made, dict):
        return _first_missing((f".{key}", value, values[key]) for key, value in made.items())
    if isinstance(made, tuple | list):
        return _first_missing((f"[{place}]", *pair) for place, pair in enumerate(zip(made, values, strict=True)))
    return ""


def _first_missing(pairs: Iterable[tuple[str, Any, Any]]) -> str:
    return next((place + missing for place, made, values in pairs if (missing := _missing(made, values))), "")


def to_dict(config: Any) -> dict[str, Any]:
    """Plain values, such that ``from_dict(type(config), to_dict(config)) == config``; tuples become lists."""
    return json.loads(json.dumps(asdict(config)))


def load(cls: type[T], path: str | Path) -> T:
    """Read a YAML file into a dataclass.

    Raises:
        ConfigError: no such file, no YAML, a key given twice, or values that do not fit.
    """
    return from_dict(cls, read_yaml(path), where=Path(path).name)


def dump(config: Any) -> str:
    """YAML text of a dataclass."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def fingerprint(values: Any) -> str:
    """12 hex digits that name a dataclass or plain values; the same in every process and for any order of keys."""
    plain = asdict(values) if is_dataclass(values) and not isinstance(values, type) else values
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def convert(hint: Any, value: Any, where: str) -> Any:
    """A plain value as the annotated type wants it, or a ConfigError that says where and why."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _convert_union(args, value, where)
    if origin is Literal:
        return _require(value in args, value, where, f"one of {', '.join(map(repr, args))}")
    if origin in (tuple, list):
        _require(isinstance(value, list | tuple), value, where, "a list")
        return origin(convert(args[0], item, f"{where}[{place}]") for place, item in enumerate(value))
    if origin in (dict, abc.Mapping):
        _require(isinstance(value, Mapping), value, where, "keys and values")
        return {key: convert(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, where=where)  # type: ignore[arg-type]
    return value if hint is Any else _convert_scalar(hint, value, where)


def _convert_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and NoneType in args:
        return None
    problems = []
    for hint in args:
        if hint is not NoneType:
            try:
                return convert(hint, value, where)
            except ConfigError as error:
                problems.append(error)
    raise problems[0]


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float:
        return _number(value, where)
    if hint is Path and isinstance(value, str):
        return Path(value)
    fits = isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool)
    return _require(fits, value, where, f"a {hint.__name__}")


EXPONENT = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+")  # what YAML, wanting a point, reads as a text


def _number(value: Any, where: str) -> float:
    written = isinstance(value, str) and EXPONENT.fullmatch(value) is not None
    fits = written or (isinstance(value, int | float) and not isinstance(value, bool))
    try:
        number = float(_require(fits, value, where, "a float"))
    except OverflowError:  # of a whole number
        number = math.inf
    _require(math.isfinite(number), value, where, "a finite float")
    return number


def _require(fits: bool, value: Any, where: str, wanted: str) -> Any:
    if not fits:
        raise ConfigError(f"{where}: expected {wanted}, got {value!r}.")
    return value
