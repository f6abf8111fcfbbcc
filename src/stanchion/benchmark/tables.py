"""Tables of prompts that others published: read from a file that the user has, or from the Hub.

Everything is text until it is asked for as a number: one row of I2P reads "Null", which is no missing value.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import ConfigError

Line = Mapping[str, str]
DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Selection:
    """Which rows of a published table are wanted.

    Attributes:
        file: ``.csv``, ``.tsv``, ``.json``, ``.jsonl``, or ``.txt`` with a prompt a line; empty for the Hub's copy.
        sha256: of the table, 64 hex digits; checked where given.
        entry: the list that is wanted of a JSON file that holds several.
        where: by column, what its value must be: the value itself, or one of a list with commas; "not …", "> 50"
            and "< 50" as one reads them.
    """

    file: str = ""
    sha256: str = ""
    entry: str = ""
    where: dict[str, str | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Rows as they were published, and the SHA-256 of the file (of the rows as JSON, where they came from the Hub)."""

    name: str
    sha256: str
    rows: tuple[Line, ...]

    @property
    def columns(self) -> list[str]:
        """In the order of the file."""
        return list(dict.fromkeys(column for row in self.rows for column in row))

    def checked(self, sha256: str) -> Table:
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
        if unknown := sorted(set(where) - set(self.columns)):
            raise ConfigError(f"{self.name} has no column {', '.join(unknown)}; it has {', '.join(self.columns)}.")
        found = [row for row in self.rows if all(_fits(row.get(name, ""), str(want)) for name, want in where.items())]
        if not found:
            raise ConfigError(f"{self.name}: none of {len(self.rows)} rows has {dict(where)}.")
        return found


def read_table(path: str | Path, entry: str = "") -> Table:
    """The table in a file; ``entry`` names the list that is meant in a JSON file of several.

    Raises:
        ConfigError: no such file, or nothing that is a table of prompts.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"can't read {str(path)!r}: {error.strerror or error}.") from error
    return _parsed(str(path), hashlib.sha256(raw).hexdigest(), raw, entry)


@cache
def hub_table(repository: str, split: str) -> Table:
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
    return Table(f"{repository} ({split})", digest, rows)


@cache  # by content: a benchmark asks for the same prompts in every cell
def _parsed(name: str, digest: str, raw: bytes, entry: str) -> Table:
    try:
        rows = tuple(_line(row) for row in _rows(Path(name).suffix.lower(), raw.decode("utf-8-sig"), entry))
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise ConfigError(f"{name}: can't be read as a table of prompts ({error}).") from error
    if not rows:
        raise ConfigError(f"{name} holds no rows.")
    return Table(name, digest, rows)


def _rows(suffix: str, text: str, entry: str) -> Any:
    if suffix in DELIMITERS:
        return csv.DictReader(io.StringIO(text, newline=""), delimiter=DELIMITERS[suffix], strict=True)
    if suffix == ".json":
        values = json.loads(text)
        if isinstance(values, dict) and entry not in values:
            raise ValueError(f"it has no list {entry!r}, but {', '.join(values)}")
        return values[entry] if isinstance(values, dict) else values
    if suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    if suffix == ".txt":
        return [{"prompt": line.strip()} for line in text.splitlines() if line.strip()]
    raise ValueError(f"known are .csv, .tsv, .json, .jsonl and .txt, not {suffix!r}")


def _line(row: Any) -> Line:
    """A row with every value as text."""
    if None in row:
        raise ValueError(f"a row has more values than there are columns: {row[None]}")
    return {str(column): "" if value is None else str(value) for column, value in row.items()}


def _fits(value: str, want: str) -> bool:
    if want.startswith("not "):
        return not _fits(value, want.removeprefix("not "))
    number = _number(value)
    if want[:1] in "<>" and (bound := _number(want[1:])) is not None:
        return number is not None and (number > bound if want[0] == ">" else number < bound)
    texts = {value.strip().casefold(), *(part.strip().casefold() for part in value.split(","))}
    return want.strip().casefold() in texts or (number is not None and number == _number(want))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
