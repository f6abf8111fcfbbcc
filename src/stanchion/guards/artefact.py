"""A saved guard: ``config.json``, and ``guard.safetensors`` where there are tensors. Neither is changed unnoticed.

The config holds the SHA-256 of the tensors' file, and a fingerprint of everything else that it says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import config
from ..concepts import Concept
from ..errors import ArtefactError, ConfigError
from ..files.documents import read_json
from ..files.plugins import in_file
from ..files.tensors import load_tensors, save_tensors

SCHEMA = 2
CONFIG, TENSORS = "config.json", "guard.safetensors"
LIST = "stack.json"  # of a folder that holds several


@dataclass(frozen=True)
class Artefact:
    """What ``config.json`` says.

    Attributes:
        guard: the registered name.
        settings, base, training: the guard's.
        tensors: SHA-256 of ``guard.safetensors``; None where the guard has no tensors.
    """

    guard: str
    concept: Concept
    settings: dict[str, Any]
    base: dict[str, str]
    training: dict[str, Any]
    tensors: str | None


def write_artefact(folder: Path, guard: Any) -> None:
    """Write a guard; what lies in the folder from an earlier one is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / TENSORS
    for stale in (folder / LIST, *(() if guard.tensors else (file,))):
        stale.unlink(missing_ok=True)
    values = {
        "guard": guard.name,
        "concept": guard.concept.to_dict(),
        "settings": config.to_dict(guard.settings),
        "base": guard.base,
        "training": guard.training,
        "tensors": save_tensors(file, guard.tensors) if guard.tensors else None,
    }
    text = json.dumps({"schema": SCHEMA, **values, "fingerprint": config.fingerprint(values)}, indent=2)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def read_artefact(folder: str | Path) -> Artefact:
    """``config.json`` of a saved guard.

    Raises:
        ArtefactError: no such file, another schema, a missing or unknown key, or it was changed since it was written.
    """
    file = Path(folder) / CONFIG
    values = read_json(file, ArtefactError)
    if not isinstance(values, dict) or values.pop("schema", None) != SCHEMA:
        raise ArtefactError(
            f"{file}: no guard of schema {SCHEMA}, which this version reads. One of an earlier version is made again: "
            "'stanchion train GUARD --concept … --output FOLDER' where it is trained, else load_guard(…).save(FOLDER)."
        )
    written = values.pop("fingerprint", None)
    try:
        artefact = config.from_dict(Artefact, values, where=str(file))
    except ConfigError as error:
        raise ArtefactError(str(error)) from error
    if written != config.fingerprint(values):
        raise ArtefactError(
            f"{file} was changed since the guard was saved. Copy it again; to change settings give them when the guard "
            "is loaded, as in load_guard(FOLDER, key=value), and save it."
        )
    return artefact


def check_runs_nothing(folder: str | Path, artefact: Artefact, given: Mapping[str, Any]) -> None:
    """Whether no setting that was saved names a file to run; what its user gives in its place may.

    Raises:
        ArtefactError: one does.
    """
    for name, value in artefact.settings.items():
        if name not in given and isinstance(value, str) and in_file(value):
            raise ArtefactError(
                f"{folder}: {name} is {value!r}, and nothing that a saved guard names is run; look at that file, and "
                f"give it when the guard is loaded: load_guard(FOLDER, {name}={value!r})."
            )


def tensors_of(folder: str | Path, artefact: Artefact) -> dict[str, Tensor]:
    """The tensors that belong to a config.

    Raises:
        ArtefactError: the file is missing, damaged or another one, or there should be none.
    """
    file = Path(folder) / TENSORS
    if artefact.tensors:
        return load_tensors(file, artefact.tensors, ArtefactError)
    if file.exists():
        raise ArtefactError(
            f"{file} is not of the guard that {CONFIG} beside it describes; give them separate folders."
        )
    return {}
