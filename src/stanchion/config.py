"""Settings: dataclass <-> plain values <-> YAML. An unknown key is an error; a hash names a configuration.

A number says in its annotation which values make sense (``Share``, ``Annotated[float, Range(0, 2)]``); ``convert``
holds it to that, the only place that does.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cache, wraps
from inspect import signature
from math import inf
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml

from .errors import ConfigError
from .files.documents import read_yaml
from .registry import unknown

T = TypeVar("T")
Made = TypeVar("Made", bound=Callable[..., Any])


@dataclass(frozen=True)
class NoSettings:
    """Of a guard or an attack that nothing can be set of."""


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, all of them finite; ``above`` and ``below`` leave out the bound itself."""

    low: float = -inf
    high: float = inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        bounds = {self.low} if self.above else set()
        bounds |= {self.high} if self.below else set()
        return -inf < value < inf and self.low <= value <= self.high and value not in bounds  # NaN is in no range

    def __str__(self) -> str:
        least = "" if self.low == -inf else f"above {self.low}" if self.above else f"{self.low} or more"
        most = "" if self.high == inf else f"below {self.high}" if self.below else f"at most {self.high}"
        return " and ".join(filter(None, (least, most))) or "a finite number"


class Filled:
    """Texts and lists that hold something."""

    def __contains__(self, value: str | Sequence[Any]) -> bool:
        return bool(value.strip() if isinstance(value, str) else value)

    def __str__(self) -> str:
        return "one or more"


Natural = Annotated[int, Range(1)]
Count = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**63 - 1)]
Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(0, above=True)]
NotNegative = Annotated[float, Range(0)]
Real = Annotated[float, Range()]


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
    return cls(**_converted(hints, values, where))


def checked(made: Made) -> Made:
    """A dataclass or a function whose arguments are held to their annotations, whoever gives them.

    Raises:
        ConfigError: when it is called with a value of another type or out of its range.
    """
    if isinstance(made, type):
        made.__init__ = _checked(made.__init__, made)  # type: ignore[misc]
        return made
    return cast(Made, _checked(made, made))


def check_made(kind: Any, values: Mapping[str, Any], *, where: str) -> None:
    """Raise ``ConfigError`` for a setting that a class does not take, or that is out of its range. Nothing is made."""
    known = list(signature(kind.__init__).parameters)[1:]
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: {unknown('setting', key, known)}")
    check_arguments(kind.__init__, values, where=where)


def check_arguments(function: Callable[..., Any], values: Mapping[str, Any], *, where: str) -> None:
    """Raise ``ConfigError`` for a value that a function's annotations don't allow. Nothing is called."""
    _converted(hints_of(function), values, where)


@cache
def hints_of(made: Any) -> dict[str, Any]:
    """Annotations by name, ranges included."""
    return get_type_hints(made, include_extras=True)


def _checked(function: Callable[..., Any], annotated: Any) -> Callable[..., Any]:
    known = signature(function)

    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        bound = known.bind(*given, **named)
        bound.arguments.update(_converted(hints_of(annotated), bound.arguments, annotated.__qualname__.split(".")[0]))
        return function(*bound.args, **bound.kwargs)

    return call


def _converted(hints: Mapping[str, Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {key: convert(hints[key], value, f"{where}.{key}") for key, value in values.items() if key in hints}


@cache  # a record has a hundred thousand lines of one shape
def _shape(cls: type) -> tuple[dict[str, Any], frozenset[str]]:
    """The type of each key, and the keys that can't be left out."""
    known = {field.name: field for field in fields(cls) if field.init}
    needed = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    hints = hints_of(cls)
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
    return json.loads(json.dumps(asdict(config), default=_plain))


def _plain(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} is no plain value.")


def load(cls: type[T], path: str | Path) -> T:
    """Read a YAML file into a dataclass.

    Raises:
        ConfigError: no such file, no YAML, a key given twice, or values that do not fit; the message begins with the
            file's name.
    """
    values, name = read_yaml(path), Path(path).name
    try:
        return from_dict(cls, values, where=name)
    except ConfigError as error:
        if str(error).startswith(name):
            raise
        raise type(error)(f"{name}: {error}") from error  # a class's own, which knows of no file


@contextmanager
def placed(where: str) -> Iterator[None]:
    """What is raised within it begins with its place.

    Raises:
        ConfigError: one was raised; of the same kind.
    """
    try:
        yield
    except ConfigError as error:
        raise type(error)(f"{where}: {error}") from error


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
    if origin is Annotated:
        return _within(args[1:], convert(args[0], value, where), where)
    if origin in (Union, UnionType):
        return _convert_union(args, value, where)
    if origin is Literal:
        return _require(value in args, value, where, f"one of {', '.join(map(repr, args))}")
    if origin in (tuple, list, Sequence):
        return _convert_list(origin, args, value, where)
    if origin in (dict, Mapping):
        _require(isinstance(value, Mapping), value, where, "keys and values")
        return {convert(args[0], key, where): convert(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, where=where)  # type: ignore[arg-type]
    if origin or hint is Any or not isinstance(hint, type) or getattr(hint, "_is_protocol", False):
        return value  # anything, or what only its user can tell
    return _convert_scalar(hint, value, where)


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


def _convert_list(kind: type, args: tuple[Any, ...], value: Any, where: str) -> Any:
    """A list of any length, or of as many entries as the annotation has."""
    fixed = kind is tuple and Ellipsis not in args
    fits = isinstance(value, list | tuple) and (not fixed or len(value) == len(args))
    _require(fits, value, where, f"a list of {len(args)}" if fixed else "a list")
    hints = args if fixed else args[:1] * len(value)
    pairs = enumerate(zip(hints, value, strict=True))
    made = [convert(hint, item, f"{where}[{place}]") for place, (hint, item) in pairs]
    return made if kind is list else tuple(made)


def _within(rules: Sequence[Any], value: Any, where: str) -> Any:
    for rule in rules:
        if isinstance(rule, Range | Filled) and value not in rule:
            raise ConfigError(f"{where} is {value!r}; use {rule}.")
    return value


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
        number = inf
    _require(math.isfinite(number), value, where, "a finite float")
    return number


def _require(fits: bool, value: Any, where: str, wanted: str) -> Any:
    if not fits:
        raise ConfigError(f"{where}: expected {wanted}, got {value!r}.")
    return value
