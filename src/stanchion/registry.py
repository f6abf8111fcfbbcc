"""A file's name is its registration.

``guards/trajectory/trasce.py`` *is* the guard ``trasce``. Listing names looks at folders only and imports
nothing, so that a command line can offer them at once. In a folder of plug-ins, ``base.py`` and files that
start with an underscore are no plug-ins. A stem that *ends* with one is the beginning of many names:
``i2i_.py`` is ``i2i_unsafe_50`` and its like, and its class says in ``called(name)`` what they are. Other
packages join by entry points::

    [project.entry-points."stanchion.guards"]
    my_guard = "my_package.my_guard:MyGuard"

Whoever types a guard's, a judge's or a metric's name may name a class in a file instead (``my_judge.py:Redness``):
``find``, ``check`` and ``is_named`` take both, ``get`` only what is registered.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, UnknownName
from .files.names import check_name
from .files.plugins import check_class, in_file, load_class

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ROOT = Path(__file__).parent

FOLDERS: dict[str, tuple[str, ...]] = {
    "guards": ("guards/*",),
    "judges": ("judges",),
    "metrics": ("metrics/*",),
    "prompts": ("prompts/*",),
    "attacks": ("attacks/*",),
    "families": ("pipeline/families",),
    "studies": ("benchmark/studies",),
    "recipes": ("training/recipes", "training/recipes/*"),
    "stacks": ("stacks",),
}


IN_FILES = ("guards", "judges", "metrics")


@dataclass(frozen=True)
class Entry:
    """Where a plug-in lives: a file of this package, or an entry point of another one."""

    name: str
    file: Path | None = None
    point: EntryPoint | None = None

    @property
    def folder(self) -> str:
        """The folder that holds it (a guard's stage), or the foreign package's module."""
        return self.file.parent.name if self.file else self.point.module if self.point else ""

    @property
    def summary(self) -> str:
        """First line of the file's docstring, read without importing it."""
        if self.file is None:
            return self.point.value if self.point else ""
        text = ast.get_docstring(ast.parse(self.file.read_text(encoding="utf-8"))) or ""
        return text.partition("\n")[0]

    def load(self) -> Any:
        """Import the module; return its class whose ``name`` is this entry's.

        Raises:
            ConfigError: there is none.
        """
        if self.file is None:
            return self._foreign()
        dotted = ".".join(self.file.relative_to(ROOT).with_suffix("").parts)
        module = import_module(f".{dotted}", __package__)
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__ and vars(value).get("name") == self.name:
                return value
        raise ConfigError(f"{self.file}: no class with name = {self.name!r}; the file's name is its registration.")

    def _foreign(self) -> Any:
        """Another package's class. Whatever its module raises while it is imported, the plug-in can't be had."""
        assert self.point is not None
        where = f"{_one(self.point.group.removeprefix('stanchion.'))} {self.name!r} ({self.point.value})"
        try:
            found = self.point.load()
        except Exception as error:
            raise ConfigError(f"{where} can't be loaded: {type(error).__name__}: {error}. Mend its package.") from error
        if not isinstance(found, type):
            raise ConfigError(f"{where} is no class; an entry point names one.")
        return found


def entries(kind: str) -> dict[str, Entry]:
    """Every plug-in of a kind by name, sorted; none of them imported.

    Raises:
        ConfigError: two plug-ins share a name; a guard must never be replaced by another unnoticed.
    """
    if kind not in FOLDERS:
        raise UnknownName(unknown("kind of plug-in", kind, FOLDERS))
    found: dict[str, Entry] = {}
    for entry in (*_own(kind, ROOT), *_foreign(kind)):
        if entry.name in found:
            raise ConfigError(f"{kind}: two plug-ins are called {entry.name!r} ({found[entry.name]}, {entry}).")
        found[entry.name] = entry
    return dict(sorted(found.items()))


def names(kind: str) -> list[str]:
    """Names of every plug-in of a kind, sorted; none of them imported."""
    return list(entries(kind))


def get(kind: str, name: str) -> Any:
    """The class registered under that name.

    Raises:
        UnknownName: nothing of that name; the message gives the nearest names, or how names are put together.
    """
    entry = _find(kind, name, entries(kind))
    found = entry.load()
    return found if entry.name == name else found.called(name)


def find(kind: str, name: str) -> Any:
    """The class registered under that name, or the one that a file defines.

    Raises:
        UnknownName: nothing of that name; the message gives the nearest names.
        ConfigError: the file or its class can't be had, or bears the name of a registered one.
    """
    if kind not in IN_FILES or not in_file(name):
        return get(kind, name)
    made = load_class(name)
    if made.name in entries(kind):  # type: ignore[attr-defined]
        raise ConfigError(f"{name}: {made.name!r} is a registered name; give the class another.")  # type: ignore[attr-defined]
    return made


def is_named(kind: str, name: str) -> bool:
    """Whether this is a registered name, or names a class in a file; nothing is read."""
    return _entry(name, entries(kind)) is not None or (kind in IN_FILES and in_file(name))


def check(kind: str, wanted: Iterable[str]) -> None:
    """Raise ``UnknownName`` for the first name that is not registered, without importing or running anything.

    Raises:
        ConfigError: it names a class in a file, which is not there.
    """
    found = entries(kind)
    for name in wanted:
        if kind in IN_FILES and in_file(name):
            check_class(name)
        else:
            _find(kind, name, found)


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """A message for a name that nobody knows, with the nearest ones."""
    known = sorted(known)
    near = get_close_matches(str(name), known, n=3, cutoff=0.5) or [one for one in known if one.endswith(f"_{name}")]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known) or 'none'}."
    return f"unknown {what} {name!r}; {hint}"


def _find(kind: str, name: str, found: Mapping[str, Entry]) -> Entry:
    entry = _entry(name, found)
    if entry is None:
        raise UnknownName(unknown(_one(kind), name, found))
    return entry


def _entry(name: str, found: Mapping[str, Entry]) -> Entry | None:
    """The entry of that name, or the one that it begins with."""
    many = (entry for start, entry in found.items() if start.endswith("_") and name.startswith(start))
    return found.get(name) or next(many, None)


def _one(kind: str) -> str:
    """What one plug-in of the kind is called."""
    return f"{kind.removesuffix('ies')}y" if kind.endswith("ies") else kind.removesuffix("s")


@cache
def _own(kind: str, root: Path) -> tuple[Entry, ...]:
    """The files of a kind's folders. Metrics and prompt sets are asked for by the thousand: one look is enough."""
    files = sorted(file for folder in FOLDERS[kind] for file in root.glob(f"{folder}/*.py"))
    return tuple(Entry(file.stem, file) for file in files if file.stem != "base" and not file.stem.startswith("_"))


@cache
def installed(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group. Looking for them reads what every installed package says: once is enough."""
    from importlib.metadata import entry_points  # --help does without

    return tuple(entry_points(group=group))


def _foreign(kind: str) -> list[Entry]:
    points = installed(f"stanchion.{kind}")
    for point in points:
        check_name(f"{_one(kind)} ({point.value})", point.name)
    return [Entry(point.name, point=point) for point in points]
