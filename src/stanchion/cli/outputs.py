"""Whether a command will be able to write: tried before it works long, and without leaving anything behind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..errors import ConfigError


def check_folder(folder: Path) -> Path:
    """``folder``, in which, or in the nearest folder above it that exists, a file could be made just now.

    Raises:
        ConfigError: it can't be written to.
    """
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=there):
            return folder
    except OSError as error:
        raise ConfigError(f"can't write into {str(folder)!r}: {error.strerror or error}.") from error


def check_file(file: Path) -> Path:
    """``file``, which can be written, or made where it is not there yet.

    Raises:
        ConfigError: it can't.
    """
    if file.is_dir() or (file.exists() and not os.access(file, os.W_OK)):
        raise ConfigError(f"can't write the file {str(file)!r}: it is a folder, or not yours to write.")
    check_folder(file.parent)
    return file
