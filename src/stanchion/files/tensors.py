"""Files of tensors: whole or not there, named by their hash, and readable by whoever may read their folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import ConfigError


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file, whole or not at all; its SHA-256."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, part)
    open_to_readers(part)
    part.replace(path)
    return sha256_of(path)


def load_tensors(path: Path, sha256: str, error: type[ConfigError] = ConfigError) -> dict[str, Tensor]:
    """The tensors of the very file that ``save_tensors`` gave this SHA-256 for.

    Raises:
        ConfigError: the file is missing, damaged or another one; as the kind of error that is given.
    """
    try:
        found = sha256_of(path)
    except OSError as problem:
        raise error(f"can't read {str(path)!r}: {problem.strerror or problem}. Copy it again.") from problem
    if found != sha256:
        raise error(f"{path} is not the file that was saved: its SHA-256 is {found}, not {sha256!r}. Copy it again.")
    return read_tensors(path, error)


def read_tensors(path: Path, error: type[ConfigError] = ConfigError) -> dict[str, Tensor]:
    """The tensors of a safetensors file that nobody gave a hash for.

    Raises:
        ConfigError: the file is missing or damaged; as the kind of error that is given.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as problem:
        raise error(f"{path} is damaged or can't be read: {problem}.") from problem


def load_checkpoint(path: Path, device: torch.device | None = None) -> Any:
    """What ``torch.save`` wrote of a training, weights and plain values only.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    try:
        return torch.load(path, weights_only=True, map_location=device)
    except Exception as problem:  # of zip files, of pickles, of torch: no base class in common
        raise ConfigError(f"{path} is damaged ({problem}); remove it, and what it holds is made again.") from problem


def sha256_of(path: Path) -> str:
    """64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_to_readers(*files: Path) -> None:
    """Safetensors makes files for their owner alone: whoever may read the folder shall be able to read them."""
    for file in files:
        file.chmod(file.stat().st_mode & 0o700 | file.parent.stat().st_mode & 0o066)
