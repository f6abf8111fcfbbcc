"""Settings: dataclass <-> plain values <-> YAML. An unknown key is an error; a hash names a configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

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
    known = {field.name: field for field in fields(cls) if field.init}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: {unknown('key', str(key), known)}")
    needed = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    if missing := sorted(needed - set(values)):
        raise ConfigError(f"{where}: missing {', '.join(missing)}.")
    hints = get_type_hints(cls)
    return cls(**{key: convert(hints[key], value, f"{where}.{key}") for key, value in values.items()})


def to_dict(config: Any) -> dict[str, Any]:
    """Plain values, such that ``from_dict(type(config), to_dict(config)) == config``; tuples become lists."""
    return json.loads(json.dumps(asdict(config)))


def load(cls: type[T], path: str | Path) -> T:
    """Read a YAML file into a dataclass.

    Raises:
        ConfigError: no such file, no YAML, a key given twice, or values that do not fit.
    """
    path = Path(path)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise ConfigError(f"can't read {str(path)!r}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    return from_dict(cls, values, where=path.name)


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
    if origin is dict:
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
    if hint is float and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-3, without a point, as a text
        except (TypeError, ValueError):
            pass
    if hint is Path and isinstance(value, str):
        return Path(value)
    fits = isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool)
    return _require(fits, value, where, f"a {hint.__name__}")


def _require(fits: bool, value: Any, where: str, wanted: str) -> Any:
    if not fits:
        raise ConfigError(f"{where}: expected {wanted}, got {value!r}.")
    return value


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key given twice is an error: the second would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)
