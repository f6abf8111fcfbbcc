"""Every YAML, JSON and JSON-lines file that a user can write is read here, and what is doubtful in it is an error.

A document is made of texts, whole and finite numbers, true, false, null, lists, and mappings whose keys are texts. No
reader guesses: a key given twice, NaN, a YAML tag, a date, bytes that are not UTF-8, half a surrogate pair, nesting
without end, and aliases that multiply raise, with the file and the line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError

LARGEST = 64 * 2**20  # bytes
LARGEST_YAML = 2**20  # bytes: PyYAML takes ten seconds for as many
DEPTH = 64
VALUES = 1_000_000  # of YAML, aliases counted as often as they are used

Kind = type[ConfigError]


def read_yaml(path: str | Path, error: Kind = ConfigError) -> Any:
    """The values of a YAML file.

    Raises:
        ConfigError: no such file, or one that is not plain YAML; as the kind of error that is given.
    """
    return parse_yaml(read_text(path, error), str(path), error)


def read_json(path: str | Path, error: Kind = ConfigError) -> Any:
    """The values of a JSON file.

    Raises:
        ConfigError: no such file, or one that is not strict JSON; as the kind of error that is given.
    """
    return parse_json(read_text(path, error), str(path), error)


def read_text(path: str | Path, error: Kind = ConfigError) -> str:
    """A file of UTF-8, without a byte order mark.

    Raises:
        ConfigError: no such file, too large, or not UTF-8; as the kind of error that is given.
    """
    return decode(read_bytes(path, error), str(path), error)


def read_bytes(path: str | Path, error: Kind = ConfigError) -> bytes:
    """A file's bytes, at most 64 MiB.

    Raises:
        ConfigError: no such file, or too large; as the kind of error that is given.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as problem:  # a name that holds a null byte is a ValueError
        raise error(f"can't read {str(path)!r}: {getattr(problem, 'strerror', None) or problem}.") from problem
    if len(raw) > LARGEST:
        raise error(f"can't read {str(path)!r}: it is larger than {LARGEST // 2**20} MiB; is it the right file?")
    return raw


def decode(raw: bytes, where: str, error: Kind = ConfigError) -> str:
    """Bytes as text.

    Raises:
        ConfigError: they are not UTF-8; as the kind of error that is given.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        what = f"byte {raw[problem.start]:#04x} in line {line}"
        raise error(f"{where} is not UTF-8 ({what}); save it with that encoding.") from problem


def parse_yaml(text: str, where: str, error: Kind = ConfigError) -> Any:
    """The values of one YAML document.

    Raises:
        ConfigError: it is not plain YAML; as the kind of error that is given.
    """
    if len(text) > LARGEST_YAML:
        raise error(f"{where}: {len(text)} characters are too many for YAML; give {LARGEST_YAML} at most.")
    try:
        values = yaml.load(text, Loader=_PlainLoader)
        _check_plain(values, VALUES)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as problem:
        raise error(f"{where} is not valid YAML: {' '.join(str(problem).split())}.") from problem
    return values


def parse_json(text: str, where: str, error: Kind = ConfigError) -> Any:
    """The values of one JSON document.

    Raises:
        ConfigError: it is not strict JSON; as the kind of error that is given.
    """
    try:
        values = json.loads(text, object_pairs_hook=_mapping)
        _check_plain(values)
    except (ValueError, RecursionError) as problem:
        raise error(f"{where}: can't be read as JSON: {problem}.") from problem
    return values


def parse_json_lines(
    raw: bytes, where: str, error: Kind = ConfigError, *, torn: bool = False
) -> Iterator[tuple[str, Any]]:
    """The place ("FILE, line 3") and the values of every line that is not empty.

    Args:
        torn: pass over lines that are no JSON at all, as a process that was killed leaves them.

    Raises:
        ConfigError: a line is not strict JSON; as the kind of error that is given.
    """
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.strip() and not (torn and not _is_json(line)):
            place = f"{where}, line {number}"
            yield place, parse_json(decode(line, place, error), place, error)


def json_line(values: Any, *, ascii: bool = True) -> str:
    """Plain values as one line, such that ``parse_json_lines`` reads it; NaN and infinity become texts."""
    try:
        return json.dumps(values, ensure_ascii=ascii, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(values), ensure_ascii=ascii)


def _without_nan(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_nan(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_without_nan(value) for value in values]
    return str(values) if isinstance(values, float) and not math.isfinite(values) else values


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} is given twice")
    return values


def _check_plain(values: Any, most: float = math.inf) -> None:
    """Raise ValueError for what no document may hold, or for more than ``most`` values."""
    seen = count(1)

    def check(value: Any, depth: int) -> None:
        if depth > DEPTH:
            raise ValueError(f"it is nested more than {DEPTH} deep")
        if next(seen) > most:
            raise ValueError(f"it holds more than {most} values")
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value} is no finite number")
        elif isinstance(value, dict):
            for key, item in value.items():
                check(_key(key), depth)
                check(item, depth + 1)
        elif isinstance(value, list):
            for item in value:
                check(item, depth + 1)

    check(values, 0)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} holds half a surrogate pair, which is no character") from None


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"the key {key!r} is no text; put it in quotes")
    return key


WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$")
BROKEN = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$")
TAG = "tag:yaml.org,2002:"


class _PlainLoader(yaml.SafeLoader):
    """YAML without what turns one text into another value unasked: tags, dates, base 60, octal, and merged keys."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(None, None, f"tag {event.tag!r} is not allowed", event.start_mark)
        self._depth += 1
        if self._depth > DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested more than {DEPTH} deep", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_PlainLoader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] in (f"{TAG}null", f"{TAG}bool")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(f"{TAG}int", WHOLE, list("-+0123456789"))
_PlainLoader.add_implicit_resolver(f"{TAG}float", BROKEN, list("-+.0123456789"))
