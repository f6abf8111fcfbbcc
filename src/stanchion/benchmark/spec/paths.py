"""Where a spec's results lie: ``results/STUDY/{spec.yaml, rows.json, table.md}``; those of NAME.yaml in NAME.json."""

from __future__ import annotations

from pathlib import Path

SPEC, ROWS, TABLE = "spec.yaml", "rows.json", "table.md"


def name_of(spec: Path) -> str:
    """What a record calls the spec: its folder's name where it is a ``spec.yaml``, else its own."""
    return spec.absolute().parent.name if spec.name == SPEC else spec.stem


def rows_beside(spec: Path) -> Path:
    """The file of its rows."""
    return spec.with_name(ROWS) if spec.name == SPEC else spec.with_suffix(".json")


def table_beside(rows: Path) -> Path | None:
    """The file of the rows' table; None where the rows lie alone."""
    return rows.with_name(TABLE) if rows.name == ROWS else None
