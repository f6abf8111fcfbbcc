"""Tables of prompts that others published: read from a file that the user has, or from the Hub.

Everything is text until it is asked for as a number: one row of I2P reads "Null", which is no missing value. Columns
are known by their names without case, blanks and underscores: ``Evaluation Seed`` is ``evaluation_seed``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..concepts import Role
from ..config import Real, checked
from ..errors import ConfigError
from ..files.documents import decode, parse_json, parse_json_lines
from ..files.text import folded, lines

Line = Mapping[str, str]
DIALECTS: dict[str, dict[str, Any]] = {
    ".csv": {"delimiter": ",", "strict": True},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},  # a quotation mark is part of the text, as in PartiPrompts
}
Test = Callable[[str], bool]


@checked
@dataclass(frozen=True)
class Selection:
    """Which rows of a published table are wanted.

    Attributes:
        file: ``.csv``, ``.tsv``, ``.json``, ``.jsonl``, or ``.txt`` with a prompt a line; empty for the Hub's copy.
        sha256: of the table, 64 hex digits; checked where given.
        entry: the list that is wanted of a JSON file that holds several.
        where: by column, what its value must be: the value itself, or one of a list with commas; "not …", "> 50"
            and "< 50" as one reads them. "= …" is always the value itself: where somebody is called "not x".
        role: of a file of one's own: what its pictures show.
        source: of a file of one's own: whence it is, in one's own words.
    """

    file: str = ""
    sha256: str = ""
    entry: str = ""
    where: dict[str, str | Real] = field(default_factory=dict)
    role: Role | None = None
    source: str = ""


@dataclass(frozen=True)
class PublishedTable:
    """Rows as they were published, and the SHA-256 of the file (of the rows as JSON, where they came from the Hub)."""

    name: str
    sha256: str
    rows: tuple[Line, ...]

    @property
    def columns(self) -> list[str]:
        """In the order of the file."""
        return list(dict.fromkeys(column for row in self.rows for column in row))

    def checked(self, sha256: str) -> PublishedTable:
        """The table itself, where its SHA-256 is this one, or none is asked for.

        Raises:
            ConfigError: it is another.
        """
        if sha256 and self.sha256 != sha256.lower():
            raise ConfigError(f"{self.name}: SHA-256 is {self.sha256}, not {sha256}: this is another version of it.")
        return self

    def select(self, where: Mapping[str, str | float]) -> list[Line]:
        """The rows that fit every condition.

        Raises:
            ConfigError: no such column, or no such row.
        """
        if unknown := sorted(name for name in where if column_key(name) not in self.columns):
            raise ConfigError(f"{self.name} has no column {', '.join(unknown)}; it has {', '.join(self.columns)}.")
        tests = {column_key(name): self._test(column_key(name), str(want)) for name, want in where.items()}
        found = [row for row in self.rows if all(test(row.get(name, "")) for name, test in tests.items())]
        if not found:
            raise ConfigError(f"{self.name}: none of {len(self.rows)} rows has {dict(where)}.")
        return found

    def _test(self, column: str, want: str) -> Test:
        """A condition as a test of values: first of all what some row has, word for word; else what it says.

        Raises:
            ConfigError: it is both, and there are rows for either.
        """
        if want.startswith("="):
            return _is(want[1:])
        values = [row.get(column, "") for row in self.rows]
        named = any(map(_is(want), values))
        if not want.startswith("not "):
            return _is(want) if named else _compared(want)
        other = want.removeprefix("not ").strip()
        if named and any(map(_is(other), values)):
            raise ConfigError(
                f"{self.name}: {column} has the values {want!r} and {other!r}; write '= {want}' or 'not = {other}'."
            )
        fits = self._test(column, other)
        return _is(want) if named else lambda value: not fits(value)


def read_table(path: str | Path, entry: str = "") -> PublishedTable:
    """The table in a file; ``entry`` names the list that is meant in a JSON file of several.

    Raises:
        ConfigError: no such file, or nothing that is a table of prompts.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:  # a name that holds a null byte is a ValueError
        raise ConfigError(f"can't read {str(path)!r}: {getattr(error, 'strerror', None) or error}.") from error
    return _parsed(str(path), hashlib.sha256(raw).hexdigest(), raw, entry)


@cache
def hub_table(repository: str, split: str) -> PublishedTable:
    """The table of a dataset on the Hub; needs the extra `hub`.

    Raises:
        ConfigError: the extra is missing, or the dataset can't be had (it is gated, or there is no network).
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ConfigError(
            f"{repository} comes from the Hub: pip install 'stanchion[hub]', or give a file of your own."
        ) from error
    try:
        rows = tuple(_line(row) for row in load_dataset(repository, split=split))
    except Exception as error:  # of datasets, of the Hub's client, of the network: no base class in common
        raise ConfigError(f"{repository} can't be had from the Hub ({error}); give a file of your own.") from error
    digest = hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
    return PublishedTable(f"{repository} ({split})", digest, rows)


@cache  # by content: a benchmark asks for the same prompts in every cell
def _parsed(name: str, digest: str, raw: bytes, entry: str) -> PublishedTable:
    try:
        rows = tuple(_line(row) for row in _rows(name, raw, entry))
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise ConfigError(f"{name}: can't be read as a table of prompts ({error}).") from error
    if not rows:
        raise ConfigError(f"{name} holds no rows.")
    return PublishedTable(name, digest, rows)


def _rows(name: str, raw: bytes, entry: str) -> Any:
    suffix = Path(name).suffix.lower()
    if suffix == ".jsonl":
        return [line for _, line in parse_json_lines(raw, name)]
    text = decode(raw, name)
    if suffix in DIALECTS:
        return csv.DictReader(io.StringIO(text, newline=""), **DIALECTS[suffix])
    if suffix == ".json":
        values = parse_json(text, name)
        if isinstance(values, dict) and entry not in values:
            raise ValueError(f"it has no list {entry!r}, but {', '.join(values)}")
        return values[entry] if isinstance(values, dict) else values
    if suffix == ".txt":
        return [{"prompt": line.strip()} for line in lines(text) if line.strip()]
    raise ValueError(f"known are .csv, .tsv, .json, .jsonl and .txt, not {suffix!r}")


def _line(row: Any) -> Line:
    """A row with every value as text."""
    if None in row:
        raise ValueError(f"a row has more values than there are columns: {row[None]}")
    columns = [column_key(str(column)) for column in row]
    if len(set(columns)) < len(columns):
        raise ValueError(f"two columns have one name: {', '.join(map(str, row))}")
    return dict(zip(columns, map(_text, row.values()), strict=True))


def column_key(name: str) -> str:
    """What spellings of a column have in common."""
    return "_".join(re.split(r"[\s_-]+", folded(name)))


def _text(value: Any) -> str:
    if isinstance(value, list | tuple | dict):  # of a mapping, what it is about
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)


def _compared(want: str) -> Test:
    """More or less than a number, where that is what it says."""
    bound = _number(want[1:])
    if want[:1] not in ("<", ">") or bound is None:
        return _is(want)
    sign = 1 if want[0] == ">" else -1
    return lambda value: (number := _number(value)) is not None and sign * number > sign * bound


def _is(want: str) -> Test:
    """The value itself, or one of a list with commas; numbers by what they count."""
    name, number = folded(want), _number(want)

    def test(value: str) -> bool:
        texts = {folded(value), *filter(None, map(folded, value.split(",")))}
        return name in texts or (number is not None and number == _number(value))

    return test


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
