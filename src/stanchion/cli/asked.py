"""What every command that takes guards is asked for: their names, their settings, and what must not be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .. import registry
from ..concepts import Concept, load_concept, together
from ..errors import ConfigError
from ..stacks.base import check_named, spelled_out
from .settings import parse_values

if TYPE_CHECKING:
    from ..benchmark.spec.variant import Variant
    from ..guards.base import Guard
    from ..guards.stack import GuardStack

USUAL = "weapons"


def names_of(guards: str) -> list[str]:
    """What stands in a text with commas: names of guards and stacks, folders, and ids on the Hub.

    Raises:
        ConfigError: there is none between two commas, or a guard beside `none`.
        UnknownName: a name that is no guard, no stack and no folder.
    """
    from ..benchmark.spec.variant import UNGUARDED, is_saved

    names = [name.strip() for name in guards.split(",")]
    if not all(names):
        raise ConfigError(
            f"--guard {guards!r}: a name is missing; give guards, stacks or folders, by commas, or 'none'."
        )
    if UNGUARDED in names and len(names) > 1:
        raise ConfigError(f"--guard {guards!r}: 'none' stands alone.")
    check_named(name for name in names if name != UNGUARDED and not is_saved(name))
    return names


def variant_of(guards: str, assignments: Sequence[str] | None) -> Variant:
    """The guards with their settings; neither is loaded."""
    from ..benchmark.spec.variant import Variant

    names = names_of(guards)
    return Variant("+".join(names), settings=parse_settings(assignments or [], list(spelled_out(names, {}))))


def concept_of(guards: Sequence[str], asked: str | None) -> Concept:
    """What must not be drawn: what is asked for, else what the saved guards were made against, else the usual.

    Whoever asks for something that a saved guard was not made against is told so.

    Raises:
        ConfigError: nothing is asked for, and saved guards mean different concepts by one name.
    """
    theirs = concepts_of(guards)
    if asked is None:
        return _united(theirs) if theirs else load_concept(USUAL)
    wanted = load_concept(asked)
    for guard, concept in theirs.items():
        if concept.targets != wanted.targets:
            typer.echo(f"stanchion: {guard} was made against {concept.name}, not against {wanted.name}.", err=True)
    return wanted


def concepts_of(guards: Sequence[str]) -> dict[str, Concept]:
    """What each saved guard among ``guards`` was made against; a stack's concepts as one."""
    from ..benchmark.spec.variant import UNGUARDED, is_saved

    saved = [name for name in guards if name != UNGUARDED and is_saved(name)]
    if not saved:
        return {}
    from ..guards.loading import load_guard

    return {name: _united({one.name: one.concept for one in singles(load_guard(name))}) for name in saved}


def _united(concepts: dict[str, Concept]) -> Concept:
    several = list({concept.name: concept for concept in concepts.values()}.values())
    if not all(concept in several for concept in concepts.values()):
        raise ConfigError(f"{' and '.join(concepts)} mean different things by one name; say which with --concept.")
    return several[0] if len(several) == 1 else together(*several)


def singles(guard: Guard | GuardStack) -> tuple[Guard, ...]:
    """The guards of a stack; a guard alone."""
    return guard.guards if hasattr(guard, "guards") else (guard,)


def parse_settings(assignments: Sequence[str], guards: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``["trasce.lazy_tol=1e-3"]`` as ``{"trasce": {"lazy_tol": "1e-3"}}``; values are read as YAML.

    A saved guard goes by its folder's whole path or by the folder's own name, dots and all.

    Raises:
        ConfigError: no GUARD.KEY=VALUE, a value that is no YAML, or a setting that is given twice.
        UnknownName: a guard that is not among ``guards``.
    """
    settings: dict[str, list[str]] = {}
    for assignment in assignments:
        guard, rest = _addressed(assignment, guards)
        settings.setdefault(guard, []).append(rest)
    return {guard: parse_values(rests) for guard, rests in settings.items()}


def _addressed(assignment: str, guards: Sequence[str]) -> tuple[str, str]:
    """Which guard is meant, and KEY=VALUE."""
    called = [(name, guard) for guard in guards for name in {guard, str(Path(guard)), Path(guard).name}]
    fitting = [(name, guard) for name, guard in called if name and assignment.startswith(f"{name}.")]
    if not fitting:
        path, equals, _ = assignment.partition("=")
        guard, dot, _ = path.rpartition(".")
        if equals and dot and guard:
            raise ConfigError(f"--set {assignment!r}: {registry.unknown('guard', guard, guards)}")
        raise ConfigError(f"--set {assignment!r}: write GUARD.KEY=VALUE, for example trasce.lazy_tol=0.001.")
    longest = max(len(name) for name, _ in fitting)
    meant = {guard for name, guard in fitting if len(name) == longest}
    if len(meant) > 1:
        raise ConfigError(f"--set {assignment!r}: {' and '.join(sorted(meant))} are both called so; give the path.")
    return meant.pop(), assignment[longest + 1 :]
