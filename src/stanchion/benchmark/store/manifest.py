"""What a spec leaves in a record beside the attempts: itself, where its numbers come from, and the numbers.

    DIR/NAME.yaml           the spec as it was loaded, every default written out
    DIR/NAME.origin.json    code, machine, model, guards, judge and concepts
    DIR/NAME.rows.json      the rows, as in results/

A report needs nothing else. Several specs may share a record; one without rows was not run to its end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ... import config
from ...concepts import Concept, load_concept
from ...files.documents import read_json, read_text
from ..results.row import Row, read_rows, write_rows
from ..spec.prompt_spec import Spec
from .provenance import commit, machine


@dataclass(frozen=True)
class RunOrigin:
    """Where the numbers of one spec come from.

    Attributes:
        command: what was typed.
        stanchion: version of the package; ``commit`` is that of its source.
        machine: processor, accelerator and versions of the libraries.
        model: class and weights of the pipeline.
        judge: the judge's identity, with its thresholds.
        guards: identities of each guard's settings and tensors, by variant and concept.
        concepts: each concept in full, by the name that the spec gives it (a built-in one, or a file).
        finished: when the rows were written, UTC.
    """

    command: str
    stanchion: str
    commit: str
    machine: str
    model: str
    judge: str
    guards: dict[str, list[str]]
    concepts: dict[str, dict[str, Any]]
    finished: str


@dataclass(frozen=True)
class StoredSpec:
    """One spec of a record: its text, and its origin and rows where it was run to the end."""

    name: str
    spec: str
    origin: RunOrigin | None
    rows: tuple[Row, ...]


def make_origin(spec: Spec, *, command: str, model: str, judge: str, guards: Mapping[str, list[str]]) -> RunOrigin:
    """The origin of rows that are written now."""
    return RunOrigin(
        command=command,
        stanchion=version("stanchion"),
        commit=commit(),
        machine=machine(),
        model=model,
        judge=judge,
        guards=dict(guards),
        concepts={name: load_concept(name).to_dict() for name in spec.concepts},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def file_spec(folder: Path, name: str, spec: Spec) -> None:
    """Put a spec into the record before it is run. Rows of another spec of that name are no longer its rows."""
    paths, text = _paths(folder, name), config.dump(spec)
    if paths["spec"].exists() and read_text(paths["spec"]) != text:
        paths["rows"].unlink(missing_ok=True)
    paths["spec"].write_text(text, encoding="utf-8")


def file_rows(folder: Path, name: str, origin: RunOrigin, rows: Sequence[Row]) -> None:
    """Put what came out beside the spec."""
    paths = _paths(folder, name)
    paths["origin"].write_text(json.dumps(asdict(origin), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_rows(paths["rows"], rows)


def stored_specs(folder: str | Path) -> list[StoredSpec]:
    """Every spec of a record, by name.

    Raises:
        ConfigError: rows or an origin that can't be read.
    """
    return [_read(Path(folder), path.stem) for path in sorted(Path(folder).glob("*.yaml"))]


def _read(folder: Path, name: str) -> StoredSpec:
    paths = _paths(folder, name)
    text = read_text(paths["spec"])
    if not (paths["rows"].exists() and paths["origin"].exists()):
        return StoredSpec(name, text, None, ())
    where = str(paths["origin"])
    origin = config.restore(RunOrigin, read_json(paths["origin"]), where=where)
    for concept in origin.concepts.values():
        config.from_dict(Concept, concept, where=f"{where}.concepts")
    return StoredSpec(name, text, origin, tuple(read_rows(paths["rows"])))


def _paths(folder: Path, name: str) -> dict[str, Path]:
    ends = {"spec": "yaml", "origin": "origin.json", "rows": "rows.json"}
    return {part: Path(folder) / f"{name}.{end}" for part, end in ends.items()}
