"""The audit log: JSON lines, one a request. Nothing is handed out that could not be written down."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ServiceUnavailable
from .policy import Audit


class AuditLog:
    """Lines that are on the disk before ``write`` returns. Full files are renamed ``NAME.1``, ``NAME.2`` …

    Raises:
        ServiceUnavailable: the file can't be opened.
    """

    def __init__(self, settings: Audit) -> None:
        self.settings = settings
        self._file: Any = self._open(settings.file) if settings.file else None

    def write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add lines and see them safely written; does nothing where the policy names no file.

        Raises:
            ServiceUnavailable: they could not be written.
        """
        if self._file is None:
            return
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        try:
            self._write(text.encode("ascii"))
            os.fsync(self._file.fileno())
            if self._file.tell() >= self.settings.rotate_bytes:
                self._rotate(Path(self._file.name))
        except OSError as error:
            raise ServiceUnavailable(f"the audit log can't be written: {error}") from error

    def _write(self, data: bytes) -> None:
        """All of it: a disk that is nearly full takes a part, and says no only when it is asked again."""
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        """No more lines."""
        if self._file is not None:
            self._file.close()

    def _open(self, path: Path) -> Any:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab", buffering=0)  # what could not be written must not wait in a buffer
            if _torn(path):
                file.write(b"\n")
            return file
        except OSError as error:
            raise ServiceUnavailable(f"the audit log can't be opened: {error}") from error

    def _rotate(self, path: Path) -> None:
        self.close()
        for number in range(self.settings.keep - 1, 0, -1):
            if (old := _numbered(path, number)).exists():
                old.replace(_numbered(path, number + 1))
        path.replace(_numbered(path, 1))
        self._file = self._open(path)


def _torn(path: Path) -> bool:
    """Whether the last line has no end: the machine stopped while it was written."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
