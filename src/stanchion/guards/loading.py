"""Guards by name, or from the folder that ``save`` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import registry
from ..concepts import Concept
from ..errors import ConfigError
from .base import Guard, read_config
from .stack import GuardStack


def load_guard(source: str | Path, concept: str | Concept | None = None, **settings: Any) -> Guard | GuardStack:
    """A guard by its name and concept, or a saved guard or stack by its folder.

    Args:
        source: a registered name, or a folder (anything with a separator in it, or an existing folder that no
            guard is named like).
        concept: a built-in name, a YAML file or a ``Concept``; a saved guard has its own.
        settings: the guard's settings.

    Raises:
        UnknownName: no such guard, or no such concept.
        ConfigError: no concept, unknown settings, or settings beside a folder.
        ArtefactError: the folder holds no guard that can be read.
    """
    if str(source) in registry.names("guards"):
        if concept is None:
            raise ConfigError(f"guard {str(source)!r}: say what it guards against, concept='weapons' for example.")
        return registry.get("guards", str(source))(concept, **settings)
    if not Path(source).is_dir():
        return registry.get("guards", str(source))  # raises, with the nearest names
    if concept is not None or settings:
        raise ConfigError(f"{source}: a saved guard has its own concept and settings; leave these out.")
    parts = sorted(path.parent for path in Path(source).glob("*/config.json"))
    if parts and not (Path(source) / "config.json").is_file():
        return GuardStack(*(_load(part) for part in parts))
    return _load(Path(source))


def _load(folder: Path) -> Guard:
    return registry.get("guards", read_config(folder)["guard"]).load(folder)
