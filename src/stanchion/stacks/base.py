"""What a stack with a name is: its guards, and how each is set; and what a name that may be a stack's stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from .. import registry
from ..errors import UnknownName


class NamedStack:
    """Guards that ``load_stack`` loads and ``stanchion train`` trains together. Registered under its name.

    Attributes:
        name: the file's stem.
        guards: their names, in the order of their stages, with those settings that are not the usual ones.
        recipes: the same of how they are trained. Where a recipe is given ``guards``, their names mean those of the
            stack, which are trained before it.
    """

    name: ClassVar[str]
    guards: ClassVar[Mapping[str, Mapping[str, Any]]]
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


def is_stack(name: str) -> bool:
    """Whether this is a stack's name; a guard that is called so comes before it, and a folder after."""
    return registry.is_named("stacks", name) and not registry.is_named("guards", name)


def check_named(names: Iterable[str]) -> None:
    """Raise for the first name that is no guard's and no stack's. No guard is imported.

    Raises:
        UnknownName: nothing of that name; the message gives the nearest names.
        ConfigError: it names a class in a file, which is not there.
    """
    for name in names:
        if is_stack(name):
            continue
        if not registry.is_named("guards", name):
            known = [*registry.names("guards"), *registry.names("stacks")]
            raise UnknownName(registry.unknown("guard", name, known))
        registry.check("guards", [name])


def spelled_out(names: Iterable[str], settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The guards that names stand for, each with its settings: those of its stack, and over them those in ``settings``.

    A name that is no stack's stands for itself. A guard that is named beside its stack is there once, as the stack sets
    it; where two stacks set one guard, the later counts.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        parts = registry.get("stacks", name).guards if is_stack(name) else {name: {}}
        for guard, own in parts.items():
            found[guard] = {**found.get(guard, {}), **own}
    return {guard: {**own, **settings.get(guard, {})} for guard, own in found.items()}
