"""A class in a Python file of the user's own: ``path/to/my_judge.py:Redness``. Only what somebody types is looked up
so; what a document that came from elsewhere names is never run."""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from ..errors import ConfigError
from .documents import read_bytes

NAMED = re.compile(r"(.+\.py):([^\W\d]\w*)")


def in_file(name: str) -> bool:
    """Whether this reads as a class in a file."""
    return NAMED.fullmatch(str(name)) is not None


def check_class(name: str) -> None:
    """Raise unless the file is there and defines the class. It is read, not run.

    Raises:
        ConfigError: no such file, no Python, or no such class in it.
    """
    path, wanted = _parts(name)
    try:
        tree = ast.parse(read_bytes(path))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{path} is no Python: {error}.") from error
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    if wanted not in classes:
        raise ConfigError(f"{path} defines no class {wanted!r}, but {', '.join(classes) or 'none'}.")


def load_class(name: str) -> type:
    """The class, with ``origin``: the file's name and the first digits of the SHA-256 of what was run of it.

    Raises:
        ConfigError: as ``check_class``; or the file raises when it is run, or the class has no ``name``.
    """
    check_class(name)
    path, wanted = _parts(name)
    raw = read_bytes(path)
    digest = hashlib.sha256(raw).hexdigest()[:12]
    kind = vars(_module(path.absolute(), raw, digest)).get(wanted)
    if not isinstance(kind, type) or not isinstance(vars(kind).get("name"), str):
        raise ConfigError(f"{name}: a plug-in is a class with a name of its own, name = 'my_{wanted.lower()}'.")
    kind.origin = f"{path.name} {digest}"  # type: ignore[attr-defined]
    return kind


def _parts(name: str) -> tuple[Path, str]:
    found = NAMED.fullmatch(str(name))
    if not found:
        raise ConfigError(f"{name!r} names no class in a file; write path/to/file.py:Class.")
    return Path(found[1]), found[2]


@cache  # by content: a class stays itself for as long as its file does
def _module(path: Path, raw: bytes, digest: str) -> ModuleType:
    module = ModuleType(f"_stanchion_{path.stem}_{digest}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look there for what annotations mean
    try:
        exec(compile(raw, str(path), "exec"), vars(module))
    except Exception as error:  # anybody's code: whatever it raises, the plug-in can't be had
        del sys.modules[module.__name__]
        raise ConfigError(f"{path} can't be run: {type(error).__name__}: {error}.") from error
    return module
